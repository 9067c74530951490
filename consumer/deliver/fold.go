package deliver

import (
	"slices"

	"membersync/consumer/event"
	"membersync/crmapi"
	"membersync/dedupe"
)

// storeEvents asks for the events of a batch and all the fields that they state.
func storeEvents(b *event.Batch) []dedupe.Event {
	asked := make([]dedupe.Event, len(b.Events))
	for i, ev := range b.Events {
		asked[i] = dedupe.Event{
			ID: ev.ID, Redrive: ev.Record.RedriveNumber(), Version: string(ev.Version()), Fields: statedFields(ev.Update()),
			TryHeld: !b.InStorm || ev.Guard != event.Watched,
		}
	}
	return asked
}

func statedFields(u crmapi.Update) []dedupe.Field {
	fields := make([]dedupe.Field, 0, u.Len())
	for f, v := range u.All() {
		fields = append(fields, dedupe.Field{Name: f.String(), Value: v.AppendJSON(nil)})
	}
	return fields
}

func fieldNames(u crmapi.Update) []string {
	names := make([]string, 0, u.Len())
	for f := range u.All() {
		names = append(names, f.String())
	}
	return names
}

// resolve divides the events by the grant into those that are done already, those that are held
// again, and those that fold into the update.
func resolve(
	u *event.Update, events []*event.Event, grant dedupe.Grant,
) (finished []event.Finished, held []*event.Event) {
	u.LeftOut = make(map[*event.Event]event.LeftOut, len(events))
	for i, ev := range events {
		if grant.Events[i].Done {
			finished = append(finished, Duplicate(ev, grant.Events[i]))
			continue
		}
		if as := grant.Events[i].Held; as != nil {
			holdAgain(ev, as)
			held = append(held, ev)
			continue
		}
		u.Events = append(u.Events, ev)
		ev.Reused = grant.Events[i].Reused
		if grant.Stale[i] {
			u.Superseded = append(u.Superseded, ev)
		}
	}
	for _, g := range grant.Fields {
		f, ok := crmapi.ParseField(g.Name)
		if !ok {
			continue // cannot happen: the names are ours
		}
		resolveField(u, f, events[g.Winner], g.Decision)
	}
	if len(u.Events) > 0 {
		u.Fields.OpenUserID = u.Events[0].Update().OpenUserID
	}
	return finished, held
}

// resolveField takes one field of the newest event that states it, unless a newer event was applied
// or the CRM holds the value.
func resolveField(u *event.Update, f crmapi.Field, winner *event.Event, decision dedupe.FieldDecision) {
	for _, ev := range u.Events {
		value, states := ev.Update().Get(f)
		switch {
		case !states:
		case ev != winner:
			leaveOut(u, ev, f, event.LeftOutWithin)
		case decision == dedupe.Superseded:
			leaveOut(u, ev, f, event.LeftOutNewer)
		case decision == dedupe.Unchanged:
			leaveOut(u, ev, f, event.LeftOutHolds)
		default:
			u.Fields = u.Fields.With(f, value)
			if !slices.Contains(u.Contributors, ev) {
				u.Contributors = append(u.Contributors, ev)
			}
		}
	}
}

func leaveOut(u *event.Update, ev *event.Event, f crmapi.Field, why string) {
	if u.LeftOut[ev] == nil {
		u.LeftOut[ev] = make(event.LeftOut)
	}
	u.LeftOut[ev][f] = why
}

// Duplicate is the outcome of an event that was done before. A redrive whose own earlier delivery
// was done, and whose result may not have been recorded, has that result.
func Duplicate(ev *event.Event, done dedupe.EventGrant) event.Finished {
	f := event.Finished{Event: ev, Outcome: event.Duplicate}
	if n := ev.Record.RedriveNumber(); n > 0 && done.Redrive == n {
		f.Earlier = event.Outcome(done.Outcome)
	}
	return f
}

// outcomeOf an event whose update was sent, or needed no call.
func outcomeOf(u *event.Update, ev *event.Event) event.Outcome {
	if slices.Contains(u.Contributors, ev) {
		return event.Applied
	}
	for _, why := range u.LeftOut[ev] {
		if why != event.LeftOutHolds {
			return event.Superseded
		}
	}
	return event.Unchanged
}

// NotSuperseded returns the events of an update that state a field which no newer event has
// replaced.
func NotSuperseded(u *event.Update) []*event.Event {
	var events []*event.Event
	for _, ev := range u.Events {
		if !slices.Contains(u.Superseded, ev) && ev.Update().Len() > 0 {
			events = append(events, ev)
		}
	}
	return events
}
