package dlq

// A State is where an item stands. It follows from the DLQ and audit topics alone.
type State string

// The states.
const (
	StateOpen       State = "open"       // nobody has dealt with its latest death
	StateRedriving  State = "redriving"  // it was sent again, and the service has not said what came of it
	StateApplied    State = "applied"    // a redrive came to that, or found that the CRM holds its values
	StateSuperseded State = "superseded" // a redrive found newer values of all its fields
	StateDiscarded  State = "discarded"  // somebody decided against it, or a rule of the mapping does
)

// States returns all states.
func States() []State {
	return []State{StateOpen, StateRedriving, StateApplied, StateSuperseded, StateDiscarded}
}

// A fate is what the audit topic says of an item. A number counts the item's redrives: 0 is the original delivery.
type fate struct {
	sent      int32 // the highest number asked for
	answered  int32 // the highest number with a result, and that result
	result    State // open for all that leave it open
	refused   int32 // the highest number of a redrive that was not what it says
	discarded int32 // the number at the latest discard, plus 1; 0: none
	sentAt    int64 // when the highest number was asked for, in ms
}

// add takes one record into account. The order of records does not matter, since they carry numbers.
func (f *fate) add(a AuditRecord) {
	n := int32(min(max(a.Detail.Number, 0), 1<<30))
	switch a.Action {
	case ActionRedrive:
		if n >= f.sent {
			f.sent, f.sentAt = n, a.At.UnixMilli()
		}
	case ActionRedriveResult:
		if a.Result == ResultRefused {
			f.refused = max(f.refused, n)
			return
		}
		state, counts := stateOf(a.Result)
		if counts && (n > f.answered || n == f.answered && state != StateOpen) {
			f.answered, f.result = n, state
		}
	case ActionDiscard:
		f.discarded = max(f.discarded, n+1)
	case ActionReveal, ActionOffsetsReset, ActionReplay, ActionPause, ActionResume, ActionStateForget, ActionStateRebuild:
	}
}

// stateOf turns the result of a redrive into a state. A duplicate says nothing: a later redrive has run.
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

// state judges an item whose latest death has the number. What has the higher number is newer; of equal numbers a
// result tells more than a discard, that more than a death, and that more than a request.
func (f *fate) state(death int32) State {
	if f == nil {
		return StateOpen
	}
	newest := max(death, f.sent, f.answered)
	// A refusal ends a redrive that was asked for. Otherwise it is of a record that somebody has copied by hand, and says nothing of
	// the item.
	refused := f.refused >= f.sent && f.refused > f.answered
	switch {
	case f.answered == newest && newest > 0 && f.result != StateOpen:
		return f.result
	case f.discarded > newest:
		return StateDiscarded
	case f.sent == newest && death < newest && f.answered < newest && !refused:
		return StateRedriving
	default:
		return StateOpen
	}
}

// number is that of the item's latest delivery, sent or dead.
func (f *fate) number(death int32) int32 {
	if f == nil {
		return death
	}
	return max(death, f.sent, f.answered)
}
