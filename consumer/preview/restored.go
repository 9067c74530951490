package preview

import (
	"membersync/consumer/event"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// Restored says what a rebuild of the state restores of a delivery, apart from the event's id. A
// dead letter moves no version, and neither does an original whose edited value was applied: it may
// state fields that the edit has removed. Everything else counts as applied. Not ok: it is a
// redrive whose result is not known yet.
func Restored(index *dlq.Index, d dlq.Delivery, res mapper.Result) (done dedupe.DoneEvent, ok bool) {
	v, failed := index.StateOf(d)
	over := v.State == dlq.StateApplied || v.State == dlq.StateSuperseded
	done = dedupe.DoneEvent{Outcome: string(event.Applied), Version: string(res.Event.Version)}
	for f := range res.Event.Update.All() {
		done.Fields = append(done.Fields, f.String())
	}
	switch {
	case d.Number > 0 && (!failed || !over || v.Resulted != d.Number):
		return done, false
	case failed && over && res.Fault == nil:
		done.Outcome, done.Redrive = string(v.State), v.Resulted
		if d.Edited != v.Edited {
			done.Version, done.Fields = "", nil
		}
	case failed || res.Fault != nil:
		return dedupe.DoneEvent{Outcome: string(event.DeadLettered), Redrive: v.Failed}, true
	}
	return done, true
}
