package mapper

import "strconv"

// A Reason says why an event was rejected. It is the dlq.reason of the dead letter.
type Reason string

// The reasons of this package.
const (
	Malformed    Reason = "malformed"     // the bytes are not one strict JSON object
	Oversized    Reason = "oversized"     // the record is larger than the bound
	InvalidEvent Reason = "invalid_event" // a required part is missing or wrong
	InvalidField Reason = "invalid_field" // the value of a member field is wrong

	UnresolvedReference Reason = "unresolved_reference" // a lookup found nothing
	NeedsFetch          Reason = "needs_fetch"          // the event carries no values
	Routed              Reason = "routed"               // a rule of the mapping says so
)

// A Fault is why an event was rejected. It names the place and what is wrong there,
// never a value, so it can be logged and put into headers.
type Fault struct { //nolint:errname // not every fault is returned as an error: it is a part of a result

	Reason Reason
	Whole  bool   // the record failed whole: the event has no index
	Path   string // the member at fault, such as "after.gender"; empty: the value as a whole
	Text   string // what is wrong, to be read behind the path
	Offset int64  // where in the record's value, in bytes; -1: nowhere in particular
}

// Error implements error.
func (f *Fault) Error() string {
	subject := f.Path
	if subject == "" {
		subject = "the value"
	}
	text := string(f.Reason) + ": " + subject + " " + f.Text
	if f.Offset >= 0 {
		text += " (byte " + strconv.FormatInt(f.Offset, 10) + ")"
	}
	return text
}

// Stage names the step that failed: decode or map.
func (f *Fault) Stage() string {
	switch f.Reason {
	case InvalidField, UnresolvedReference, NeedsFetch, Routed:
		return "map"
	case Malformed, Oversized, InvalidEvent:
		return "decode"
	}
	return "decode"
}

// whole returns a fault of the record as a whole.
func whole(reason Reason, offset int64, text string) *Fault {
	return &Fault{Reason: reason, Whole: true, Text: text, Offset: offset}
}
