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
	if e.Latest == nil {
		return withoutEvent(c, e)
	}
	if text := ofDeadLetter(c, e); text != "" {
		return text
	}
	latest := "The latest event (" + place(*e.Latest) + ")"
	switch c {
	case ops.CauseIgnored:
		return fmt.Sprintf("%s is ignored by the rule %q of the mapping.", latest, e.Latest.Ignored)
	case ops.CauseHeld:
		return latest + " is rejected (" + rejection(*e.Latest) + ") and held by the storm guard, because most events are rejected; " +
			"correct the cause, or run membersync resume --dead-letter-held."
	case ops.CauseForgotten:
		return latest + " was processed, but its outcome is forgotten, because its done mark has expired or was removed; membersync replay processes it again."
	case ops.CauseUnacknowledged:
		return "A value of " + strings.Join(e.Pending, ", ") + " may have reached the CRM without a response, and older values wait until its event is processed again."
	case ops.CauseInFlight:
		return "A call for the member is in flight, or had no response and is repeated; the latest event is " + place(*e.Latest) + "."
	case ops.CauseNoInstance:
		return latest + " waits, because no instance of membersync run is in the group."
	case ops.CauseOperator:
		return latest + " waits, because " + operatorPause(e.Paused) + "; membersync resume ends the pause."
	case ops.CauseLagging:
		return fmt.Sprintf("%s is not processed yet: %s before it in its partition are not finished, or it waits for the limit on calls or for a retry.",
			latest, plural(int(e.Behind), "record"))
	case ops.CauseSuperseded:
		return latest + " arrived late: events with a higher order had set all its fields before."
	case ops.CauseUnchanged:
		return latest + " changes nothing: it states no field, or the CRM held its values already."
	case ops.CauseApplied:
		return latest + " was applied; if the CRM shows something else, it was changed there afterwards."
	}
	return latest + " waits, because " + pauseText(c) + since(e.Causes, c) + "; calls continue without action unless membersync status names one."
}

// withoutEvent is about an employee without an event in the range, or about all employees.
func withoutEvent(c ops.Cause, e ops.Evidence) string {
	who := "employee " + Quoted(e.Employee)
	switch c {
	case ops.CauseStateKey:
		return stateKeySentence
	case ops.CauseStateLost:
		return stateLostSentence
	}
	return "The source topic holds no event of " + who + " in this range, so membersync has nothing to send for it."
}

const (
	stateKeySentence = "The state in Redis was written under another MEMBERSYNC_STATE_KEY, so no instance calls the CRM; " +
		"set the former key, or stop all instances and run membersync state rebuild."
	stateLostSentence = "Redis has lost its state, so it is unknown what was done for this employee; run membersync state rebuild, then explain again."
)

// ofDeadLetter is about a cause that a dead letter or the whole state has; empty: it has another.
func ofDeadLetter(c ops.Cause, e ops.Evidence) string {
	latest := "The latest event (" + place(*e.Latest) + ")"
	switch c {
	case ops.CauseStateKey:
		return stateKeySentence
	case ops.CauseStateLost:
		return stateLostSentence
	case ops.CauseDeadLetterExpired:
		return latest + " was dead-lettered, and the dead-letter topic no longer holds it; have the HR system send it again."
	case ops.CauseEarlierDeadLetter:
		return fmt.Sprintf("%s is %s, but the earlier dead letter %s (%s) is open, and the values that only that event states are missing in the CRM.",
			latest, outcomeOf(e), e.Earlier.ID, e.Earlier.DeadLetter.Reason)
	}
	i := e.DeadLetter
	if i == nil {
		return ""
	}
	reason := i.DeadLetter.Reason
	switch c {
	case ops.CauseRedriving:
		return fmt.Sprintf("%s was dead-lettered (%s) and is being redriven since %s; the service has not reported the result.", latest, reason, moment(i.RequestedAt))
	case ops.CauseDeadLettered:
		return fmt.Sprintf("%s is dead letter %s (%s) since %s; see the runbook, fix the cause, then run membersync dlq redrive %s.",
			latest, i.ID, reason, moment(i.DeadLetter.FailedAt), i.ID)
	case ops.CauseDiscarded:
		return fmt.Sprintf("%s was dead-lettered (%s), and an operator or the mapping discarded it (dead letter %s).", latest, reason, i.ID)
	case ops.CauseSuperseded:
		return fmt.Sprintf("%s was dead-lettered (%s), and its redrive found newer values of all its fields.", latest, reason)
	case ops.CauseRedriven:
		return fmt.Sprintf("%s was dead-lettered (%s) and applied by redrive %d; if the CRM shows something else, it was changed there.", latest, reason, i.Number)
	}
	return ""
}

// outcomeOf is the outcome of the latest event, also of one that a redrive applied.
func outcomeOf(e ops.Evidence) string {
	if e.DeadLetter != nil {
		return string(e.DeadLetter.State)
	}
	return e.Latest.Outcome
}

// pauseText says why the instances do not call.
func pauseText(c ops.Cause) string {
	switch c {
	case ops.CauseOutage:
		return "the CRM does not respond, or fails"
	case ops.CauseThrottled:
		return "the CRM refuses calls as too many"
	case ops.CauseQuota:
		return "the CRM's daily quota is used up"
	case ops.CauseRefused:
		return "the CRM refuses our credentials or our address, and an operator must act"
	case ops.CauseRedis:
		return "Redis does not respond"
	case ops.CauseKafka:
		return "Kafka does not respond, or a topic is missing"
	case ops.CauseDLQ:
		return "a dead letter cannot be written"
	case ops.CauseStorm:
		return "the events that the storm guard holds fill the buffer"
	case ops.CauseStateKey:
		return "the state in Redis was written under another MEMBERSYNC_STATE_KEY"
	case ops.CauseControl:
		return "the control state in Redis cannot be read"
	}
	return "calls are paused (" + string(c) + ")"
}

func since(causes []dedupe.PauseCause, c ops.Cause) string {
	for _, one := range causes {
		if one.Cause == string(c) {
			return " since " + moment(one.Since)
		}
	}
	return ""
}

// operatorPause says who has paused calls, since when, until when and why.
func operatorPause(p *ops.Pause) string {
	if p == nil {
		return "an operator has paused calls"
	}
	text := "calls were paused by " + Quoted(p.Actor) + " at " + moment(p.At.Time)
	if !p.Until.IsZero() {
		text += " until " + moment(p.Until.Time)
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
