package mapper

import (
	"bytes"
	"strings"

	"membersync/crmapi"
)

// maxID bounds an id in bytes. Ids go into headers and logs: without a bound, a dead
// letter could outgrow what its topic accepts, and its partition would be stuck.
const maxID = 1024

// maxIDDigits bounds an id that is a number. 1e999 is an integer, but no id.
const maxIDDigits = 64

// A reading interprets one document. Its fault is the first that was met; reading
// goes on behind it, so that a dead letter is identified as well as can be.
type reading struct {
	doc   *document
	event Event
	fault *Fault
}

// event interprets a document: one canonical event holds one employee.
func (m *Mapping) event(doc *document, rec Record) Result {
	r := reading{doc: doc, event: Event{Index: 0, Count: 1}}
	r.event.ID = r.id("eventId", doc.eventID)
	r.event.EmployeeID = r.id("employeeId", doc.employeeID)
	r.event.OpenUserID = r.id("openUserId", doc.openUserID)
	m.readOrder(&r, rec)
	r.states()
	if r.fault == nil && r.event.Ignored == "" {
		m.changes(&r)
	}
	return Result{Event: r.event, Fault: r.fault}
}

func (r *reading) fail(reason Reason, path string, at span, text string) {
	if r.fault != nil {
		return
	}
	r.fault = &Fault{Reason: reason, Path: path, Text: text, Offset: int64(at.start)}
	if at.absent() {
		r.fault.Offset = -1
	}
}

// id reads an identifier: a text, which is kept as it is, or an exact integer.
func (r *reading) id(name string, at span) string {
	l := r.doc.raw(at)
	var id, problem string
	switch {
	case l.absent():
		r.fail(InvalidEvent, name, at, r.missing(name))
		return ""
	case l.isText():
		id = l.text()
	case l.isNumber():
		id, problem = exactInteger(string(l), maxIDDigits)
	default:
		problem = "is " + l.kind() + ", not a text or an integer"
	}
	switch {
	case problem != "":
	case strings.TrimSpace(id) == "":
		problem = "is empty"
	case len(id) > maxID:
		problem = "is longer than 1024 bytes"
	default:
		return id
	}
	r.fail(InvalidEvent, name, at, problem)
	return ""
}

// readOrder reads the one value that orders the event; the other kind's is not looked at.
func (m *Mapping) readOrder(r *reading, rec Record) {
	name, at := "sequence", r.doc.sequence
	if m.order.kind == byTime {
		name, at = "occurredAt", r.doc.happened
	}
	l := r.doc.raw(at)
	var digits, problem string
	switch {
	case l.absent():
		r.fail(InvalidEvent, name, at, r.missing(name))
		return
	case m.order.kind == byTime:
		digits, problem = instant(l, rec.Time, m.options.MaxAhead)
	default:
		digits, problem = sequence(l)
	}
	if problem != "" {
		r.fail(InvalidEvent, name, at, problem)
		return
	}
	r.event.Order = digits
	if r.event.Version, problem = m.order.version(digits, rec, r.event.Index); problem != "" {
		r.fail(InvalidEvent, "the event", span{}, problem)
	}
}

// states judges before and after as a whole. A null after with a before is a deletion.
func (r *reading) states() {
	before, after := r.doc.raw(r.doc.before.span), r.doc.raw(r.doc.after.span)
	switch {
	case !before.absent() && !before.isNull() && !before.isObject():
		r.fail(InvalidEvent, "before", r.doc.before.span, "is "+before.kind()+", not an object")
	case after.absent():
		r.fail(InvalidEvent, "after", r.doc.after.span, r.missing("after"))
	case after.isNull() && before.isObject():
		r.event.Ignored = "deletion"
	case after.isNull():
		r.fail(InvalidEvent, "after", r.doc.after.span, "is null, and there is no before")
	case !after.isObject():
		r.fail(InvalidEvent, "after", r.doc.after.span, "is "+after.kind()+", not an object")
	}
}

// changes finds the fields that the event states. Fields whose text is the same before
// and after are left out at once: they are not sent, so it does not matter whether the
// CRM would take them. An old value that cannot be read is unknown, hence different.
func (m *Mapping) changes(r *reading) {
	before := crmapi.Update{OpenUserID: r.event.OpenUserID}
	after := before
	for i := range m.rules {
		f, at := crmapi.Field(i), r.doc.after.fields[i]
		was, now := r.doc.raw(r.doc.before.fields[i]), r.doc.raw(at)
		if now.absent() || unavailable(now) || bytes.Equal(was, now) || was.isClear() && now.isClear() {
			continue
		}
		v, problem := m.rules[i].value(now, f.Kind())
		if problem != "" {
			r.fail(InvalidField, "after."+f.String(), at, problem)
			return
		}
		after = after.With(f, v)
		if was.absent() {
			continue
		}
		if v, problem := m.rules[i].value(was, f.Kind()); problem == "" {
			before = before.With(f, v)
		}
	}
	r.event.Update = Diff(before, after)
}
