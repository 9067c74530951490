package dedupe

import (
	"fmt"
	"slices"
	"strconv"
)

// An Event is one delivery of an event. All its fields share its version.
type Event struct {
	ID      EventID
	Redrive int     // 0 for the original; a number above that of the done mark passes
	Version string  // digits of one width for all events, compared as bytes
	Fields  []Field // what the event states; may be empty
}

// A Field is a member field and its value.
type Field struct {
	Name  string
	Value []byte // canonical bytes; only for the digest, never stored
}

// An AcquireRequest asks for the lease of a member, to apply events.
type AcquireRequest struct {
	Member Member
	Token  Token
	Events []Event
	// Reapply ignores done marks and digests, never versions: for a CRM that was
	// restored from a backup.
	Reapply bool
	// DigestGeneration is that of digests, as the asker knows it from the orders, and Doubt says that
	// it has not looked for a while: then no digest proves anything.
	DigestGeneration int64
	DistrustDigests  bool
}

// A Completion records what came of events.
type Completion struct {
	Member Member
	Token  Token
	Done   []DoneEvent
	// Keep leaves the lease to run out, because a call under it went unanswered.
	Keep bool
	// Sent are the fields that were sent with success, with the values sent.
	Sent []Field
	// DigestGeneration is that which the fold was acquired under: a call made before a newer one began proves nothing in that.
	DigestGeneration int64
}

// A DoneEvent is an event that came to its end.
type DoneEvent struct {
	ID      EventID
	Redrive int
	Outcome string // lower-case letters and underscores
	Version string // may be empty without Fields
	// Fields are those that the event states, sent or not: their versions move
	// forward to Version. Empty for a dead letter: what was refused is no news.
	Fields []string
}

func (r AcquireRequest) check() error {
	if !r.Token.valid() {
		return &RequestError{What: "token: must be one of NewToken"}
	}
	for i, e := range r.Events {
		if e.Redrive < 0 {
			return eventFault(i, "redrive number: must not be negative")
		}
		if !isVersion(e.Version) || len(e.Version) != len(r.Events[0].Version) {
			return eventFault(i, "version: must be decimal digits of one width")
		}
		if slices.ContainsFunc(e.Fields, func(f Field) bool { return !isFieldName(f.Name) }) {
			return eventFault(i, "field name: must be a letter, then letters and digits, at most 64")
		}
	}
	return nil
}

func (c Completion) check() error {
	if !c.Token.valid() {
		return &RequestError{What: "token: must be one of NewToken"}
	}
	return checkDone(c.Done)
}

func checkDone(done []DoneEvent) error {
	for i, e := range done {
		if e.Redrive < 0 {
			return eventFault(i, "redrive number: must not be negative")
		}
		if !isOutcome(e.Outcome) {
			return eventFault(i, "outcome: must be lower-case letters and underscores, at most 32")
		}
		if len(e.Fields) > 0 && !isVersion(e.Version) {
			return eventFault(i, "version: must be decimal digits")
		}
		if !allOf(e.Fields, isFieldName) {
			return eventFault(i, "field name: must be a letter, then letters and digits, at most 64")
		}
	}
	return nil
}

func eventFault(i int, what string) error {
	return &RequestError{What: fmt.Sprintf("event %s: %s", strconv.Itoa(i), what)}
}

// isVersion holds the versions to digits: Redis compares strings by its locale, and
// only of digits is it certain that every locale orders them as their bytes.
func isVersion(s string) bool {
	return s != "" && len(s) <= 256 && eachByte(s, func(c byte) bool { return '0' <= c && c <= '9' })
}

func isFieldName(s string) bool {
	return s != "" && len(s) <= 64 && isLetter(s[0]) &&
		eachByte(s, func(c byte) bool { return isLetter(c) || '0' <= c && c <= '9' || c == '_' })
}

func isOutcome(s string) bool {
	return s != "" && len(s) <= 32 && eachByte(s, func(c byte) bool { return 'a' <= c && c <= 'z' || c == '_' })
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

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
