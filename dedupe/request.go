package dedupe

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An Event is one delivery of an event. All its fields share its version.
type Event struct {
	ID      EventID
	Redrive int    // 0: the original; an event with a higher number than its done mark is live
	Version string // digits of the same even width for all events, compared as bytes
	// TryHeld: the event is live also if it is marked as held.
	TryHeld bool
	Fields  []Field // the fields that the event states; may be empty
}

// A Field is a member field and its value.
type Field struct {
	Name  string
	Value []byte // canonical bytes; used only for the digest, never stored
}

// An AcquireRequest asks for the lease of a member in order to apply events.
type AcquireRequest struct {
	Member Member
	Token  Token
	Events []Event
	// Reapply ignores digests and done marks, except those of dead letters, and never versions. It is
	// for a CRM that was restored from a backup.
	Reapply bool
	// DigestGeneration is the generation of digests that the caller last read with [Store.Control].
	DigestGeneration int64
	// DistrustDigests means that the caller has not read the control state recently. No digest
	// proves anything then.
	DistrustDigests bool
}

// A Completion records the outcomes of events.
type Completion struct {
	Member Member
	Token  Token
	Done   []DoneEvent
	// Keep lets the lease expire by itself, because a call under it went unacknowledged.
	Keep bool
	// Sent lists the fields that were sent successfully, with the values sent.
	Sent []Field
	// DigestGeneration is the generation under which the fold was acquired. A call that was made
	// before a newer generation began proves nothing in the newer one.
	DigestGeneration int64
}

// A DoneEvent is an event with its outcome.
type DoneEvent struct {
	ID      EventID
	Redrive int
	Outcome string // [a-z_]{1,32}; empty for a held event
	// Held is not nil for an event that the CRM has rejected and that is neither finished nor
	// dead-lettered. It is not done: see [Event.TryHeld].
	Held    *Held
	Version string // may be empty without Fields
	// Fields lists the fields that the event states, sent or not. Their versions move forward to
	// Version. It is empty for a dead letter, because a rejected value must not replace an older
	// one.
	Fields []string
}

// A Held says how the CRM has rejected a held event.
type Held struct {
	Reason string // [a-z_]{1,32}: that of the dead letter that is not written
	Code   string // the errorCode in decimal; empty: none
}

// heldOutcome is the outcome in the mark of a held event; the reason and the code follow.
const heldOutcome = "held"

func (h Held) text() string { return heldOutcome + "." + h.Reason + "." + h.Code }

// parseHeld reads the outcome of a mark; nil: the event is not held.
func parseHeld(outcome string) *Held {
	parts := strings.Split(outcome, ".")
	if len(parts) != 3 || parts[0] != heldOutcome {
		return nil
	}
	return &Held{Reason: parts[1], Code: parts[2]}
}

// outcomeText is the outcome in the event's mark.
func (e DoneEvent) outcomeText() string {
	if e.Held != nil {
		return e.Held.text()
	}
	return e.Outcome
}

func (r AcquireRequest) check() error {
	if !r.Token.valid() {
		return &RequestError{What: "token: must come from NewToken"}
	}
	for i, e := range r.Events {
		if e.Redrive < 0 || e.Redrive > maxRedrive {
			return eventFault(i, "redrive number: must be from 0 to 65535")
		}
		if !isVersion(e.Version) || len(e.Version) != len(r.Events[0].Version) {
			return eventFault(i, "version: must be an even number of decimal digits, at most 64, as many as in the first event")
		}
		if slices.ContainsFunc(e.Fields, func(f Field) bool { return !isFieldName(f.Name) }) {
			return eventFault(i, "field name: must match [A-Za-z][A-Za-z0-9_]{0,61}")
		}
	}
	return nil
}

func (c Completion) check() error {
	if !c.Token.valid() {
		return &RequestError{What: "token: must come from NewToken"}
	}
	return checkDone(c.Done)
}

func checkDone(done []DoneEvent) error {
	for i, e := range done {
		if e.Redrive < 0 || e.Redrive > maxRedrive {
			return eventFault(i, "redrive number: must be from 0 to 65535")
		}
		if e.Held != nil && (!isOutcome(e.Held.Reason) || !isCode(e.Held.Code) || e.Outcome != "" || len(e.Fields) > 0) {
			return eventFault(i, "held: must have a reason [a-z_]{1,32}, a decimal code or none, and neither outcome nor fields")
		}
		if e.Held == nil && !isOutcome(e.Outcome) {
			return eventFault(i, "outcome: must match [a-z_]{1,32}")
		}
		if len(e.Fields) > 0 && !isVersion(e.Version) {
			return eventFault(i, "version: must be an even number of decimal digits, at most 64")
		}
		if !allOf(e.Fields, isFieldName) {
			return eventFault(i, "field name: must match [A-Za-z][A-Za-z0-9_]{0,61}")
		}
	}
	return nil
}

func eventFault(i int, what string) error {
	return &RequestError{What: fmt.Sprintf("event %s: %s", strconv.Itoa(i), what)}
}

// maxValueLen is the longest name or value with which Redis stores a hash compactly
// (hash-max-listpack-value). One longer value makes a member's hash several times as large.
const maxValueLen = 64

// maxVersionLen is the number of digits of a version at most.
const maxVersionLen = 64

// isVersion accepts only digits: Redis compares strings by its locale, and only digits are certain
// to be ordered as bytes in every locale. Two of them are stored in a byte.
func isVersion(s string) bool {
	return s != "" && len(s) <= maxVersionLen && len(s)%2 == 0 && eachByte(s, func(c byte) bool { return '0' <= c && c <= '9' })
}

func isFieldName(s string) bool {
	return s != "" && len("v:"+s) <= maxValueLen && isAlpha(s[0]) &&
		eachByte(s, func(c byte) bool { return isAlpha(c) || '0' <= c && c <= '9' || c == '_' })
}

func isOutcome(s string) bool {
	return s != "" && len(s) <= 32 && eachByte(s, func(c byte) bool { return 'a' <= c && c <= 'z' || c == '_' })
}

func isCode(s string) bool {
	return len(s) <= 20 && eachByte(strings.TrimPrefix(s, "-"), func(c byte) bool { return '0' <= c && c <= '9' })
}

func isAlpha(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func eachByte(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func allOf(all []string, ok func(string) bool) bool {
	return !slices.ContainsFunc(all, func(s string) bool { return !ok(s) })
}
