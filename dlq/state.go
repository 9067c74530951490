package dlq

// A State is the state of an item. It is derived from the DLQ and audit topics alone.
type State string

// The states.
const (
	StateOpen       State = "open"       // its latest failure is not resolved
	StateRedriving  State = "redriving"  // it was sent again, and the service has not recorded a result
	StateApplied    State = "applied"    // a redrive was applied, or found that the CRM has its values
	StateSuperseded State = "superseded" // a redrive found newer values of all its fields
	StateDiscarded  State = "discarded"  // an operator discarded it, or a rule of the mapping ignores it
)

// States returns all states.
func States() []State {
	return []State{StateOpen, StateRedriving, StateApplied, StateSuperseded, StateDiscarded}
}

// An auditState is what the audit topic records about an item. A number counts the item's redrives:
// 0 is the original delivery. The nil auditState is that of an item without audit records.
type auditState struct {
	requested   int32 // the highest requested number
	resulted    int32 // the highest number with a result
	result      State // that result; open for all results that leave the item open
	edited      bool  // the redrive that ran under this number edited the value
	refused     int32 // the highest number of a refused redrive, see ResultRefused
	discarded   int32 // the number at the latest discard, plus 1; 0: none
	requestedAt int64 // when the highest number was requested, in ms since 1970
	request     Place // of that request in the audit topic: the last one of several
}

// addAt is add for a record whose place in the audit topic is known.
func (a *auditState) addAt(r AuditRecord, at Place) {
	before := a.requested
	a.add(r)
	if r.Action != ActionRedrive || r.Detail.Number < int(a.requested) {
		return
	}
	if a.requested > before || a.request.Partition < at.Partition ||
		a.request.Partition == at.Partition && a.request.Offset < at.Offset {
		a.request = at
	}
}

// add applies one record. The order of records does not matter, because they carry numbers.
func (a *auditState) add(r AuditRecord) {
	n := int32(min(max(r.Detail.Number, 0), 1<<30))
	switch r.Action {
	case ActionRedrive:
		if n >= a.requested {
			a.requested, a.requestedAt = n, r.At.UnixMilli()
		}
	case ActionRedriveResult:
		if r.Result == ResultRefused {
			a.refused = max(a.refused, n)
			return
		}
		state, counts := stateOf(r.Result)
		// Of one number, the first result that closes the item is that of the redrive that ran; the
		// others are of redrives that found it done, perhaps with another value.
		if counts && (n > a.resulted || n == a.resulted && state != StateOpen && a.result == StateOpen) {
			a.resulted, a.result, a.edited = n, state, r.Detail.Edited
		}
	case ActionDiscard:
		a.discarded = max(a.discarded, n+1)
	case ActionReveal, ActionOffsetsReset, ActionReplay, ActionPause, ActionResume, ActionStateForget, ActionStateRebuild,
		ActionReplayCancel:
	}
}

// stateOf converts the result of a redrive into a state. A duplicate does not count: a later
// redrive has run.
func stateOf(result string) (s State, counts bool) {
	switch result {
	case ResultApplied, ResultUnchanged:
		return StateApplied, true
	case ResultSuperseded:
		return StateSuperseded, true
	case ResultIgnored:
		return StateDiscarded, true
	case ResultDuplicate:
		return "", false
	default:
		return StateOpen, true
	}
}

// state returns the state of an item whose latest failure has the given number. The higher number
// is the newer one. At equal numbers a result outranks a discard, a discard outranks a failure, and
// a failure outranks a request.
func (a *auditState) state(failure int32) State {
	if a == nil {
		return StateOpen
	}
	newest := max(failure, a.requested, a.resulted)
	// A refusal ends a redrive that was requested. Any other refusal is of a record that was copied
	// into the redrive topic by hand, and does not affect the item.
	refused := a.refused >= a.requested && a.refused > a.resulted
	switch {
	case a.resulted == newest && newest > 0 && a.result != StateOpen:
		return a.result
	case a.discarded > newest:
		return StateDiscarded
	case a.requested == newest && failure < newest && a.resulted < newest && !refused:
		return StateRedriving
	default:
		return StateOpen
	}
}

// number returns the number of the item's latest delivery: requested, resulted or failed.
func (a *auditState) number(failure int32) int32 {
	if a == nil {
		return failure
	}
	return max(failure, a.requested, a.resulted)
}
