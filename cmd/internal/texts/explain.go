// Package texts holds the sentences in which commands and pages say what the package ops finds.
package texts

import (
	"fmt"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/dedupe"
)

// Explain says in one sentence why the CRM shows what it shows for an employee.
func Explain(c ops.Cause, e ops.Evidence) string {
	if c == ops.CauseStateKey {
		return "The state in Redis was written under another MEMBERSYNC_STATE_KEY, so no instance calls the CRM; " +
			"set the former key, or stop all instances and run membersync state rebuild."
	}
	if c == ops.CauseStateLost {
		return "Redis has lost its state, so it is unknown what was done for this employee; " +
			"run membersync state rebuild, then explain again."
	}
	if e.Latest == nil {
		return "The source topic holds no event of employee " + Quoted(e.Employee) + " in this range, " +
			"so membersync has nothing to send for it."
	}
	latest := "The latest event (" + place(*e.Latest) + ")"
	if e.Latest.Repeats != "" {
		latest += " repeats the one at " + e.Latest.Repeats + ", which"
	}
	if text := ofDeadLetter(c, e); text != "" {
		return latest + text
	}
	if why := pauseText(c); why != "" {
		return latest + " waits, because " + why + since(e.Causes, c) + "; calls continue without action unless membersync status names one."
	}
	return ofEvent(c, e, latest)
}

// ofEvent is about a cause that the latest event itself has.
func ofEvent(c ops.Cause, e ops.Evidence, latest string) string {
	return map[ops.Cause]string{
		ops.CauseIgnored: fmt.Sprintf("%s is ignored by the rule %q of the mapping.", latest, e.Latest.Ignored),
		ops.CauseHeld: latest + " is rejected (" + rejection(*e.Latest) + ") and held by the storm guard, because most events are rejected; " +
			"correct the cause, or run membersync resume --dead-letter-held.",
		ops.CauseForgotten: latest + " was processed, but its outcome is forgotten, because its done mark has expired or was removed; " +
			"membersync replay processes it again.",
		ops.CauseUnacknowledged: "A value of " + strings.Join(e.Pending, ", ") + " may have reached the CRM without a response, " +
			"and older values wait until its event is processed again.",
		ops.CauseInFlight: "A call for the member is in flight, or had no response and is repeated; " +
			"the latest event is " + place(*e.Latest) + ".",
		ops.CauseNoInstance: latest + " waits, because no instance of membersync run is in the group.",
		ops.CauseOperator:   latest + " waits, because " + operatorPause(e.Paused) + "; membersync resume ends the pause.",
		ops.CauseLagging: fmt.Sprintf("%s is not processed yet: %s before it in its partition are not finished, "+
			"or it waits for the limit on calls or for a retry.", latest, Plural(int(e.Behind), "record")),
		ops.CauseSuperseded: latest + " arrived late: events with a higher order had set all its fields before.",
		ops.CauseUnchanged:  latest + " changes nothing: it states no field, or the CRM held its values already.",
		ops.CauseApplied:    latest + " was applied; if the CRM shows something else, it was changed there afterwards.",
	}[c]
}

// ofDeadLetter continues the sentence about the latest event where a dead letter is the cause;
// empty: it is not.
func ofDeadLetter(c ops.Cause, e ops.Evidence) string {
	if c == ops.CauseDeadLetterExpired {
		return " was dead-lettered, and the dead-letter topic no longer holds it; have the HR system send it again."
	}
	if c == ops.CauseEarlierDeadLetter {
		return fmt.Sprintf(" is %s, but the earlier dead letter %s (%s) is open, and the values that only that event states are missing in the CRM.",
			outcomeOf(e), e.Earlier.ID, e.Earlier.DeadLetter.Reason)
	}
	i := e.DeadLetter
	if i == nil {
		return ""
	}
	was := fmt.Sprintf(" was dead-lettered (%s)", i.DeadLetter.Reason)
	return map[ops.Cause]string{
		ops.CauseRedriving: was + " and is being redriven since " + Moment(i.RequestedAt) + "; the service has not reported the result.",
		ops.CauseDeadLettered: fmt.Sprintf(" is dead letter %s (%s) since %s; see dlq/RUNBOOK.md, section %s, fix the cause, then run membersync dlq redrive %s.",
			i.ID, i.DeadLetter.Reason, Moment(i.DeadLetter.FailedAt), i.DeadLetter.Reason, i.ID),
		ops.CauseDiscarded:  was + fmt.Sprintf(", and an operator or the mapping discarded it (dead letter %s).", i.ID),
		ops.CauseSuperseded: was + ", and its redrive found newer values of all its fields.",
		ops.CauseRedriven: was + fmt.Sprintf(" and applied by redrive %d; if the CRM shows something else, it was changed there.",
			i.Number),
	}[c]
}

// outcomeOf is the outcome of the latest event, also of one that a redrive applied.
func outcomeOf(e ops.Evidence) string {
	if e.DeadLetter != nil {
		return string(e.DeadLetter.State)
	}
	return e.Latest.Outcome
}

// pauseText says why the instances do not call; empty: the cause is not a pause of the service's
// own.
func pauseText(c ops.Cause) string {
	return map[ops.Cause]string{
		ops.CauseOutage:    "the CRM does not respond, or fails",
		ops.CauseThrottled: "the CRM refuses calls as too many",
		ops.CauseQuota:     "the CRM's daily quota is used up",
		ops.CauseRefused:   "the CRM refuses our credentials or our address, and an operator must act",
		ops.CauseRedis:     "Redis does not respond",
		ops.CauseKafka:     "Kafka does not respond, or a topic is missing",
		ops.CauseDLQ:       "a dead letter cannot be written",
		ops.CauseStorm:     "the events that the storm guard holds fill the buffer",
		ops.CauseControl:   "the control state in Redis cannot be read",
	}[c]
}

func since(causes []dedupe.PauseCause, c ops.Cause) string {
	for _, one := range causes {
		if one.Cause == string(c) {
			return " since " + Moment(one.Since)
		}
	}
	return ""
}

// operatorPause says who has paused calls, since when, until when and why.
func operatorPause(p *ops.Pause) string {
	if p == nil {
		return "an operator has paused calls"
	}
	return "calls were paused by " + Quoted(p.Actor) + " at " + pauseTimes(p)
}

// pauseTimes says since when calls are paused, until when and why.
func pauseTimes(p *ops.Pause) string {
	text := Moment(p.At.Time)
	if !p.Until.IsZero() {
		text += " until " + Moment(p.Until.Time)
	}
	if p.Note != "" {
		text += " (" + Quoted(p.Note) + ")"
	}
	return text
}

func rejection(l ops.Latest) string {
	if l.Code != "" {
		return Quoted(l.Reason) + ", errorCode " + Quoted(l.Code)
	}
	return Quoted(l.Reason)
}

// place names the latest event.
func place(l ops.Latest) string {
	text := fmt.Sprintf("%d:%d", l.Partition, l.Offset)
	if l.EventID != "" {
		text = Quoted(l.EventID) + " at " + text
	}
	return text + ", " + l.Time.UTC().Format(time.RFC3339)
}
