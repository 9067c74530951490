package mapper

import (
	"strings"
	"unicode/utf8"

	"membersync/mapper/internal/jsontree"
)

// cloudEvents takes the events of a record: one whose attributes are headers, one in
// an object, or several in a list.
func (w *work) cloudEvents(root jsontree.Value) *Fault {
	if _, ok := w.header("ce_specversion"); ok {
		w.cloudEvent(part{event: root})
		return nil
	}
	if !root.IsList() {
		if !root.IsObject() {
			return whole(Malformed, root.Offset(), "is "+jsonType(root)+", not an object")
		}
		w.cloudEvent(w.structured(root))
		return nil
	}
	for entry := range root.Entries() {
		if len(w.parts) > maxEmployees {
			return nil // refused as a whole by the caller
		}
		n := len(w.parts)
		w.cloudEvent(w.structured(entry))
		for _, p := range w.parts[n:] {
			if p.fault != nil {
				p.fault.Whole = false // the other events of the batch are taken
			}
		}
	}
	return nil
}

// cloudEvent goes on from an event's data to the employees. An event without data is one
// without values: it is left for the states to judge.
func (w *work) cloudEvent(p part) {
	if p.fault == nil && !p.event.Absent() && !p.event.IsNull() {
		p.event, p.fault = w.steps(w.p.then, p.event)
		if p.fault == nil {
			p.fault = w.employees(p)
			if p.fault == nil {
				return
			}
		}
		p.fault.Whole = true
	}
	w.parts = append(w.parts, p)
}

// structured takes one event in the form of an object. Its data may be JSON, or JSON in base64.
func (w *work) structured(v jsontree.Value) part {
	p := part{attributes: v, event: v.Member("data")}
	encoded := v.Member("data_base64")
	switch {
	case !v.IsObject():
		p.fault = &Fault{Reason: InvalidEvent, Text: "is " + jsonType(v) + ", not an object", Offset: v.Offset()}
	case !v.Member("specversion").IsText():
		p.fault = &Fault{Reason: InvalidEvent, Path: "specversion", Text: "is missing; a CloudEvent has one", Offset: -1}
	case p.event.Absent() && encoded.IsText():
		p.event, p.fault = w.within(encoded, true)
	}
	if p.fault != nil && p.fault.Whole {
		p.fault.Path = "data_base64"
	}
	return p
}

// attribute returns an attribute of the CloudEvent.
func (w *work) attribute(p *part, name string) (v jsontree.Value, problem string) {
	if !p.attributes.Absent() {
		return p.attributes.Member(name), ""
	}
	return w.headerValue("ce_" + name)
}

func (w *work) header(name string) (value []byte, ok bool) {
	for i := range w.rec.Headers {
		if w.rec.Headers[i].Key == name {
			return w.rec.Headers[i].Value, true
		}
	}
	return nil, false
}

func (w *work) headerValue(name string) (v jsontree.Value, problem string) {
	value, ok := w.header(name)
	switch {
	case !ok || value == nil:
		return v, ""
	case !utf8.Valid(value):
		return v, "is not valid UTF-8"
	}
	return w.unquoted(string(value)), ""
}

// keyRule says what the record's key is.
type keyRule struct {
	isJSON, registry, registryOptional bool
	unwrap                             []unwrapStep
}

// keyValue reads the record's key, once and only if a path asks for it.
func (w *work) keyValue() (jsontree.Value, string) {
	if !w.keyRead {
		w.keyRead = true
		w.key, w.keyWrong = w.readKey()
	}
	return w.key, w.keyWrong
}

func (w *work) readKey() (v jsontree.Value, problem string) {
	key, rule := w.rec.Key, w.p.key
	switch {
	case key == nil:
		return v, ""
	case !rule.isJSON && !utf8.Valid(key):
		return v, "is not valid UTF-8"
	case !rule.isJSON:
		return w.unquoted(string(key)), ""
	}
	if rule.registry {
		n := framing(key)
		if n == 0 && !rule.registryOptional {
			return v, "does not begin with schema-registry framing"
		}
		key = key[n:]
	}
	v, err := w.another().ReadInner(key, -1)
	if err != nil {
		return jsontree.Value{}, "is not valid JSON"
	}
	if w.p.kind == debezium || w.p.kind == debeziumFlat {
		v = connectPayload(v)
	}
	v, fault := w.steps(rule.unwrap, v)
	if fault != nil {
		return jsontree.Value{}, strings.TrimSpace(fault.Path + " " + fault.Text)
	}
	return v, ""
}

// connectPayload takes the payload from Kafka Connect's envelope of schema and payload.
func connectPayload(v jsontree.Value) jsontree.Value {
	payload := v.Member("payload")
	if payload.Absent() || v.Member("schema").Absent() || v.Len() != 2 {
		return v
	}
	return payload
}

// debeziumNews says what the envelope alone tells of an event: why it is ignored, or
// what is wrong with it.
func debeziumNews(doc jsontree.Value, op jsontree.Value) (ignored, problem string) {
	if op.Absent() {
		return bookkeeping(doc)
	}
	if op.IsText() {
		switch op.Text() {
		case "c", "u", "r":
			return "", ""
		case "d":
			return "deletion", ""
		case "t":
			return "truncate", ""
		case "m":
			return "message", ""
		}
	}
	return "", "is not one of c, u, r, d, t and m"
}

// bookkeeping recognises Debezium's records that are about no row.
func bookkeeping(doc jsontree.Value) (ignored, problem string) {
	status := doc.Member("status")
	switch {
	case !doc.Member("ddl").Absent() || !doc.Member("tableChanges").Absent():
		return "schema change", ""
	case status.IsText() && (status.Text() == "BEGIN" || status.Text() == "END") && !doc.Member("id").Absent():
		return "transaction marker", ""
	case doc.Len() == 1 && !doc.Member("ts_ms").Absent():
		return "heartbeat", ""
	}
	return "", "is missing"
}

// flatDeleted reports whether a flattened row says that it was deleted.
func flatDeleted(row jsontree.Value) bool {
	deleted, op := row.Member("__deleted"), row.Member("__op")
	return string(deleted.Raw()) == "true" || deleted.IsText() && deleted.Text() == "true" || op.IsText() && op.Text() == "d"
}
