package texts

import (
	"fmt"
	"slices"
	"time"

	"membersync/cmd/internal/ops"
)

// Status returns one sentence about the state of the service, and one line of advice. Both are
// about the most urgent cause.
func Status(st ops.Status) (sentence, advice string) {
	if len(st.Causes) == 0 {
		return "The state of the service is unknown.", "run membersync check"
	}
	c := st.Causes[0]
	since := sinceText(st, c)
	switch c.Cause {
	case ops.StatusWorking:
		if n := openOf(st); n > 0 {
			return "The service works: " + workingText(st) + "; " + Plural(n, "dead letter") + " open.",
				"membersync dlq list --group-by cause shows why they failed"
		}
		return "The service works: " + workingText(st) + ".", "nothing to do"
	case ops.StatusCatchingUp:
		return "The service is catching up: " + Plural(int(st.Lag.Records), "record") + " behind, the oldest of them is " +
			Duration(time.Duration(st.Lag.Seconds)*time.Second) + " old" + currentText(st) + ".", "wait; membersync status --watch follows it"
	case ops.StatusNoInstance:
		return "No instance of membersync run has reported in the last 30 s, so nothing is processed.",
			"start membersync run; if it does not stay up, read its log and run membersync check"
	case ops.StatusOutage:
		return "The CRM does not respond or fails" + since + "; calls are paused and resume by themselves" + nextText(st, c) + ".",
			"ask the vendor of the CRM; nothing is lost in the meantime, and membersync status --watch follows it"
	case ops.StatusThrottled:
		return "The CRM refuses calls as too many" + since + "; calls resume by themselves" + nextText(st, c) + ".",
			"nothing to do, membersync status --watch follows it; if it repeats, lower MEMBERSYNC_CRM_RATE"
	case ops.StatusQuota:
		return "The daily quota of the CRM is used up" + since + "; calls resume when it is reset" + nextText(st, c) + ".",
			"wait, or buy more quota; membersync status --watch follows it"
	case ops.StatusRefused:
		return "The CRM refuses our credentials or our address" + since + "; no event is sent until that is fixed.",
			"check token, app and IP allowlist with membersync check, and see the runbook"
	case ops.StatusPaused:
		return "Calls were paused by an operator" + pausedText(st) + ".", "membersync resume continues them"
	case ops.StatusRedis, ops.StatusKafka, ops.StatusStateKey, ops.StatusStateLost, ops.StatusRetentionRisk, ops.StatusStorm,
		ops.StatusDLQ, ops.StatusControl, ops.StatusStuck, ops.StatusMappingRejects:
		text := ownStatus(st, since)[c.Cause]
		return text.sentence, text.advice
	}
	return "The service is paused: " + string(c.Cause) + since + ".", "see the runbook"
}

type statusText struct{ sentence, advice string }

// ownStatus is about the causes that are not the CRM's.
func ownStatus(st ops.Status, since string) map[ops.StatusCause]statusText {
	key := statusText{
		"The state in Redis was written under another MEMBERSYNC_STATE_KEY, so no event is sent.",
		"set the former key, or stop all instances and run membersync state rebuild",
	}
	if n := withCause(st, ops.StatusStateKey); n > 0 && n < len(st.Instances) {
		key = statusText{
			fmt.Sprintf("The wrong MEMBERSYNC_STATE_KEY is set for %d of %d instances, so nothing is sent there; the others work.", n, len(st.Instances)),
			"membersync status names each that is wrong: start it again with the key of the others",
		}
	}
	return map[ops.StatusCause]statusText{
		ops.StatusRedis: {
			"Redis does not respond" + since + "; no event is processed until it does.",
			"check Redis with membersync check",
		},
		ops.StatusKafka: {
			"Kafka does not respond, or a topic is missing" + since + ".",
			"check brokers and topics with membersync check",
		},
		ops.StatusDLQ: {
			"A dead letter or an audit record cannot be written" + since + ", so the partitions wait.",
			"check the dead-letter and audit topics with membersync check",
		},
		ops.StatusStorm: {
			"Most events are rejected" + since + "; the storm guard holds " + Count(st.Held, "event") + " and the buffer is full.",
			"fix the mapping or the HR system, or run membersync resume --dead-letter-held",
		},
		ops.StatusStateLost: {
			"Redis has lost its state: new events are sent, and redrives and replays wait until it is rebuilt.",
			"run membersync state rebuild",
		},
		ops.StatusStateKey: key,
		ops.StatusControl: {
			"An instance cannot read the control state in Redis" + since + ", so it does not call the CRM.",
			"check Redis with membersync check",
		},
		ops.StatusMappingRejects: {
			"The mapping rejects a growing share of new events; they are dead-lettered until it accepts them.",
			"membersync dlq list --group-by cause shows why",
		},
		ops.StatusRetentionRisk: {
			"Kafka will delete unprocessed records " + headroomText(st) + ".",
			"raise retention.ms of the source topic now, then fix what keeps the service from catching up; membersync offsets show has the lag",
		},
		ops.StatusStuck: {
			"An instance has finished nothing" + since + " although it has work.",
			"find it with membersync status, read its log, then restart it; nothing is lost",
		},
	}
}

// withCause returns how many instances report a cause.
func withCause(st ops.Status, cause ops.StatusCause) (n int) {
	for _, i := range st.Instances {
		if slices.Contains(i.Causes, string(cause)) {
			n++
		}
	}
	return n
}

func workingText(st ops.Status) string {
	text := Plural(len(st.Instances), "instance")
	if st.Lag == nil {
		return text + ", the lag is unknown"
	}
	if st.Lag.Records == 0 {
		return text + ", no lag"
	}
	return text + ", " + Plural(int(st.Lag.Records), "record") + " behind, the oldest of them is " +
		Duration(time.Duration(st.Lag.Seconds)*time.Second) + " old"
}

// openOf returns the number of open dead letters.
func openOf(st ops.Status) (n int) {
	for _, g := range st.DeadLetters {
		n += g.Count
	}
	return n
}

func sinceText(st ops.Status, c ops.CauseState) string {
	if c.Since.IsZero() {
		return ""
	}
	return " since " + Moment(c.Since.Time) + " (" + Duration(st.At.Sub(c.Since.Time)) + ")"
}

func nextText(st ops.Status, c ops.CauseState) string {
	if left := c.Next.Sub(st.At.Time); !c.Next.IsZero() && left > 0 {
		return ", with the next attempt in " + Duration(max(left, time.Second))
	}
	return ""
}

func currentText(st ops.Status) string {
	if st.CurrentAt.IsZero() {
		return ""
	}
	return "; it will be current at about " + Moment(st.CurrentAt.Time) + " (in " + Duration(max(st.CurrentAt.Sub(st.At.Time), time.Second)) + ")"
}

func pausedText(st ops.Status) string {
	if st.Paused == nil {
		return ""
	}
	return ", " + Quoted(st.Paused.Actor) + ", at " + pauseTimes(st.Paused)
}

func headroomText(st ops.Status) string {
	if st.Lag == nil || st.Lag.Headroom == nil || *st.Lag.Headroom <= 0 {
		return "now"
	}
	return "in " + Duration(time.Duration(*st.Lag.Headroom)*time.Second)
}
