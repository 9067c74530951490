package outcome

// Orders returns the orders of the events that give a field of a member this value, rising. The value is spelt by
// [Canonical]; events that are poison count only if asked for.
func (e *Expectation) Orders(member, field, value string, withPoison bool) []uint64 {
	return e.orders([2]string{member, field}, value, withPoison)
}
