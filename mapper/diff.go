package mapper

import "membersync/crmapi"

// Diff returns what turns the state before into the state after: the fields that after
// has and that before lacks or holds with another value. States are updates that hold
// what is known: a field that is not set is unknown, and an empty one is known to be
// empty. A field that only before has is not part of it, since absent means unchanged.
// The member is that of after.
func Diff(before, after crmapi.Update) crmapi.Update {
	diff := after
	for f, v := range after.All() {
		if old, ok := before.Get(f); ok && old.Equal(v) {
			diff = diff.Without(f)
		}
	}
	return diff
}

// Apply returns the state with the fields of diff set over it. If diff names a member,
// the result is a state of that member.
func Apply(state, diff crmapi.Update) crmapi.Update {
	if diff.OpenUserID != "" {
		state.OpenUserID = diff.OpenUserID
	}
	for f, v := range diff.All() {
		state = state.With(f, v)
	}
	return state
}
