package outcome

// Orders returns, in rising order, the orders of the events that give a field of a member this
// value. The value has the form of [Canonical]. Poison counts only if withPoison is set.
func (e *Expectation) Orders(member, field, value string, withPoison bool) []uint64 {
	return e.orders([2]string{member, field}, value, withPoison)
}
