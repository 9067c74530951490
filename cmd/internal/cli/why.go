package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"membersync/consumer"
	"membersync/dedupe"
	"membersync/dlq"
)

// A cause is why the CRM shows of an employee what it shows. The README lists all.
type cause string

// The causes, in the order in which they are looked for.
const (
	causeStateKey   cause = "state_key"
	causeStateLost  cause = "state_lost"
	causeNoEvents   cause = "no_events"
	causeIgnored    cause = "ignored"
	causeHeld       cause = "held"
	causeRedriving  cause = "redriving"
	causeDead       cause = "dead_lettered"
	causeDiscarded  cause = "discarded"
	causeDeadGone   cause = "dead_letter_gone"
	causeUnheard    cause = "unheard"
	causeInFlight   cause = "in_flight"
	causePaused     cause = "paused"
	causeNoService  cause = "no_service"
	causeLagging    cause = "lagging"
	causeForgotten  cause = "forgotten"
	causeSuperseded cause = "superseded"
	causeUnchanged  cause = "unchanged"
	causeEarlier    cause = "earlier_dead_letter"
	causeRedriven   cause = "redriven"
	causeApplied    cause = "applied"
)

func causes() []cause {
	return []cause{
		causeStateKey, causeStateLost, causeNoEvents, causeIgnored, causeHeld, causeRedriving, causeDead, causeDiscarded, causeDeadGone, causeUnheard, causeInFlight,
		causePaused, causeNoService, causeLagging, causeForgotten, causeSuperseded, causeUnchanged, causeEarlier, causeRedriven, causeApplied,
	}
}

// Evidence is what a cause is told from.
type evidence struct {
	employee  string
	lost      bool // the state in Redis
	otherKey  bool // and it is there, but written under another state key
	latest    *sighting
	done      dedupe.EventGrant // of the latest event
	item      *dlq.Item         // its dead letter; nil: none
	earlier   *dlq.Item         // the oldest open dead letter of an earlier event
	leased    bool
	pending   []string // fields of which a newer value may have reached the CRM unheard
	committed int64    // of the latest event's partition
	behind    int64    // records between that and the event
	paused    *pauseJSON
	storm     bool // a running instance holds rejected events
	members   int
	now       time.Time
}

// why names the cause, and says it in one sentence.
func (e evidence) why() (cause, string) {
	who := "employee " + printable(e.employee)
	switch {
	case e.otherKey:
		return causeStateKey, "The state in Redis was written under another MEMBERSYNC_STATE_KEY, so no instance calls the CRM for " + who +
			" or anybody else; give the former key, or stop all instances and run membersync state rebuild."
	case e.lost:
		return causeStateLost, "Redis has lost its state, so it is not known what was done for " + who + "; run membersync state rebuild, then ask again."
	case e.latest == nil:
		return causeNoEvents, "The source topic holds no event of " + who + " in this range, so membersync has nothing to bring to the CRM."
	case e.latest.Result.Event.Ignored != "":
		return causeIgnored, fmt.Sprintf("The latest event (%s) is ignored by the rule %q of the mapping.", e.place(), e.latest.Result.Event.Ignored)
	case e.item != nil:
		if c, text := e.ofItem(); c != "" {
			return c, text
		}
	case e.done.Outcome == string(consumer.DeadLettered):
		return causeDeadGone, fmt.Sprintf("The latest event (%s) was dead-lettered, and the dead-letter topic has forgotten it; have the HR system send it again.", e.place())
	}
	if !e.done.Done {
		return e.notDone()
	}
	return e.afterwards()
}

// ofItem is about a dead letter of the latest event. No cause: a redrive has dealt with it.
func (e evidence) ofItem() (cause, string) {
	i := e.item
	switch i.State {
	case dlq.StateRedriving:
		return causeRedriving, fmt.Sprintf("The latest event (%s) died of %s and is being redriven since %s; the service has not reported the result.",
			e.place(), i.DeadLetter.Reason, timestamp(i.RequestedAt))
	case dlq.StateOpen:
		return causeDead, fmt.Sprintf("The latest event (%s) is dead letter %s for %s since %s; see the runbook, mend the cause, then membersync dlq redrive %s.",
			e.place(), i.ID, i.DeadLetter.Reason, timestamp(i.DeadLetter.FailedAt), i.ID)
	case dlq.StateDiscarded:
		return causeDiscarded, fmt.Sprintf("The latest event (%s) died of %s, and somebody or the mapping decided that nothing is to be done (dead letter %s).",
			e.place(), i.DeadLetter.Reason, i.ID)
	case dlq.StateSuperseded:
		return causeSuperseded, fmt.Sprintf("The latest event (%s) died of %s, and its redrive found newer values of all its fields.", e.place(), i.DeadLetter.Reason)
	case dlq.StateApplied:
		if e.earlier == nil {
			return causeRedriven, fmt.Sprintf("The latest event (%s) died of %s and was applied by redrive %d; if the CRM shows something else, it was changed there.",
				e.place(), i.DeadLetter.Reason, i.Number)
		}
	}
	return "", ""
}

// notDone is about a latest event of which Redis knows no end.
func (e evidence) notDone() (cause, string) {
	reached := e.latest.Offset < e.committed
	switch {
	case !reached && e.storm && (e.done.Held != nil || e.latest.Result.Fault != nil):
		return causeHeld, e.held()
	case reached:
		return causeForgotten, fmt.Sprintf("The latest event (%s) was processed, but what came of it is forgotten: its mark has run out or was removed; membersync replay runs it again.", e.place())
	case len(e.pending) > 0 && !e.leased:
		return causeUnheard, fmt.Sprintf("A value of %s may have reached the CRM without an answer, and older ones wait until its event comes again.", strings.Join(e.pending, ", "))
	case e.leased:
		return causeInFlight, fmt.Sprintf("The member is being worked on right now, or a call for it went unanswered and is repeated; the latest event is %s.", e.place())
	case e.paused != nil:
		return causePaused, fmt.Sprintf("The latest event (%s) waits, because %s has paused calling since %s%s; membersync resume lets it go on.",
			e.place(), printable(e.paused.Actor), *e.paused.At, noted(e.paused.Note))
	case e.members == 0:
		return causeNoService, fmt.Sprintf("The latest event (%s) waits, because no instance of membersync run is in the group.", e.place())
	}
	return causeLagging, fmt.Sprintf("The latest event (%s) has not been processed yet: %s before it in its partition are not finished, or it waits for the limit on calls or for a retry.",
		e.place(), plural(int(e.behind), "record"))
}

// held is about an event that was rejected while most events are.
func (e evidence) held() string {
	var reason string
	switch fault, held := e.latest.Result.Fault, e.done.Held; {
	case fault != nil:
		reason = string(fault.Reason)
	case held.Code != "":
		reason = printable(held.Reason) + ", errorCode " + printable(held.Code)
	default:
		reason = printable(held.Reason)
	}
	return fmt.Sprintf("The latest event (%s) is rejected (%s) and held, as most events are; "+
		"correct the cause, or run membersync resume --dead-letter-held.", e.place(), reason)
}

func noted(note string) string {
	if note == "" {
		return ""
	}
	return " (" + printable(note) + ")"
}

// afterwards is about a latest event that came to a good end.
func (e evidence) afterwards() (cause, string) {
	outcome := e.done.Outcome
	if e.item != nil { // it died, and its redrive was applied
		outcome = string(e.item.State)
	}
	switch {
	case e.done.Outcome == string(consumer.Superseded):
		return causeSuperseded, fmt.Sprintf("The latest event (%s) came late: events with a higher order had set all its fields before.", e.place())
	case e.earlier != nil:
		return causeEarlier, fmt.Sprintf("The latest event (%s) is %s, but the earlier dead letter %s (%s) is open, and what it alone states is missing in the CRM.",
			e.place(), outcome, e.earlier.ID, e.earlier.DeadLetter.Reason)
	case e.done.Outcome == string(consumer.Unchanged):
		return causeUnchanged, fmt.Sprintf("The latest event (%s) changes nothing: it states no field, or the CRM held its values already.", e.place())
	}
	return causeApplied, fmt.Sprintf("The latest event (%s) was applied; if the CRM shows something else, it was changed there afterwards.", e.place())
}

// place names the latest event.
func (e evidence) place() string {
	ev := e.latest.Result.Event
	text := fmt.Sprintf("%d:%d", e.latest.Partition, e.latest.Offset)
	if ev.ID != "" {
		text = printable(ev.ID) + " at " + text
	}
	return text + ", " + timestamp(e.latest.Time)
}

// newest is the event that the cause is about: the one that comes last in time.
func newest(events []sighting) *sighting {
	if len(events) == 0 {
		return nil
	}
	latest := slices.MaxFunc(events, func(a, b sighting) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Result.Event.Index, b.Result.Event.Index))
	})
	return &latest
}
