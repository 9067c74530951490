package mapper

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// The outcomes that mapping alone can tell.
const (
	outcomeUpdate    = "update"
	outcomeUnchanged = "unchanged"
	outcomeIgnored   = "ignored"
	outcomeRejected  = "rejected"
)

func (r Result) outcome() (outcome, reason string) {
	switch {
	case r.Fault != nil:
		return outcomeRejected, string(r.Fault.Reason)
	case r.Event.Ignored != "":
		return outcomeIgnored, r.Event.Ignored
	case r.Event.Update.Len() == 0:
		return outcomeUnchanged, ""
	}
	return outcomeUpdate, ""
}

// AppendMapJSON appends the result as one JSON object, without a line feed:
//
//	{"outcome":"update","event_id":"…","employee_id":"…","index":0,"version":"…","user":{…}}
//
// The outcome is update, unchanged, ignored or rejected. The last two have a reason;
// rejected has error and, where there is one, path; only update has user, which is
// exactly the object that would be sent. What is not known is left out, as is the
// index of a record that failed whole. It holds personal data.
func (r Result) AppendMapJSON(b []byte) []byte {
	outcome, reason := r.outcome()
	b = appendMember(append(b, '{'), "outcome", outcome)
	b = appendMember(b, "reason", reason)
	b = appendMember(b, "event_id", r.Event.ID)
	b = appendMember(b, "employee_id", r.Event.EmployeeID)
	if r.Fault == nil || !r.Fault.Whole {
		b = strconv.AppendInt(append(b, `,"index":`...), int64(r.Event.Index), 10)
	}
	b = appendMember(b, "version", string(r.Event.Version))
	if r.Fault != nil {
		b = appendMember(b, "path", r.Fault.Path)
		b = appendMember(b, "error", r.Fault.Error())
	}
	if outcome == outcomeUpdate {
		b = r.Event.Update.AppendJSON(append(b, `,"user":`...))
	}
	return append(b, '}')
}

// appendMember appends a member unless its text is empty.
func appendMember(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(append(append(b, '"'), name...), '"', ':')
	b, _ = jsontext.AppendQuote(b, text) // fails only for invalid UTF-8, which the decoder has refused
	return b
}
