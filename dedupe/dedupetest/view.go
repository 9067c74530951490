package dedupetest

import (
	"time"

	"membersync/dedupe"
)

// A view is what the store shows of the test's groups and member.
type view struct{ f *fixture }

// control returns the control state of a group.
func (v view) control(group string) dedupe.Control {
	v.f.Helper()
	c, err := v.f.store.Control(v.f.Context(), group)
	v.f.must(err)
	return c
}

func (v view) wantControl(what string, want dedupe.Control) {
	v.f.Helper()
	got := v.control("group")
	got.Pause.At = time.Time{}
	v.f.equal(what, got, want)
}

// marker returns the group's marker, and checks that its incarnation is not one of the others.
func (v view) marker(not ...string) dedupe.Marker {
	v.f.Helper()
	m, err := v.f.store.Marker(v.f.Context(), "group")
	v.f.must(err)
	v.f.equal("the marker that Control reads", v.control("group").Marker, m)
	for _, earlier := range not {
		if m.Incarnation == earlier {
			v.f.Errorf("the incarnation %q is not new", earlier)
		}
	}
	return m
}

// beats returns the heartbeats of a group by instance, without their ages.
func (v view) beats(group string) map[string]dedupe.Heartbeat {
	v.f.Helper()
	all, err := v.f.store.Heartbeats(v.f.Context(), group)
	v.f.must(err)
	byID := make(map[string]dedupe.Heartbeat)
	for _, b := range all {
		if b.Age < 0 || b.Age > time.Minute {
			v.f.Errorf("age %v", b.Age)
		}
		b.Age = 0
		byID[b.ID] = b
	}
	v.f.equal("one for each instance", len(all), len(byID))
	return byID
}

// state returns the state of the member, of some fields or of all.
func (v view) state(fields ...string) dedupe.MemberState {
	v.f.Helper()
	state, err := v.f.store.Member(v.f.Context(), v.f.member, fields)
	v.f.must(err)
	return state
}

// outcomes returns what the done marks say of events of the member.
func (v view) outcomes(events ...dedupe.Event) []dedupe.EventGrant {
	v.f.Helper()
	ids := make([]dedupe.EventID, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	grants, err := v.f.store.Done(v.f.Context(), v.f.member, ids)
	v.f.must(err)
	return grants
}
