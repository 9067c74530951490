package outcome

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// A Call is one request that the CRM received.
type Call struct {
	Member  string
	User    json.RawMessage // as it was sent
	Applied bool            // it took effect
}

// An Account lists what is wrong with the calls.
type Account struct {
	Unexplained []string // fields sent that no event states
	Back        []string // fields that took an older value than before
	Again       []string // fields that took the same event's value again
}

// Replay follows each field of each member through the calls. A value that took effect must belong
// to an event that is not poison, and be newer than the previous value.
func (e *Expectation) Replay(calls []Call) Account {
	var a Account
	last := make(map[[2]string]uint64) // by member and field
	for i, c := range calls {
		user := make(map[string]json.RawMessage)
		if err := json.Unmarshal(c.User, &user); err != nil {
			a.Unexplained = append(a.Unexplained, fmt.Sprintf("call %d: no user object", i))
			continue
		}
		delete(user, "openUserId")
		for _, field := range slices.Sorted(maps.Keys(user)) {
			key := [2]string{c.Member, field}
			where := fmt.Sprintf("call %d: %s of %s", i, field, c.Member)
			orders := e.Orders(c.Member, field, Canonical(user[field]), !c.Applied)
			at := slices.IndexFunc(orders, func(o uint64) bool { return o > last[key] })
			switch {
			case len(orders) == 0:
				a.Unexplained = append(a.Unexplained, where)
			case !c.Applied:
			case at < 0 && orders[len(orders)-1] == last[key]:
				a.Again = append(a.Again, where)
			case at < 0:
				a.Back = append(a.Back, fmt.Sprintf("%s: %d after %d", where, orders[len(orders)-1], last[key]))
				last[key] = orders[len(orders)-1]
			default:
				last[key] = orders[at]
			}
		}
	}
	return a
}

// Orders returns, in rising order, the orders of the events that give a field of a member this
// value. The value has the form of [Canonical]. Poison counts only if withPoison is set.
func (e *Expectation) Orders(member, field, value string, withPoison bool) []uint64 {
	var orders []uint64
	for _, s := range e.statements[member][field] {
		if s.Value == value && (withPoison || !s.Poison) {
			orders = append(orders, s.Order)
		}
	}
	return orders
}
