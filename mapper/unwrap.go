package mapper

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// An unwrapper finds the employees' parts of a record.
type unwrapper struct{ w *work }

// An unwrapStep is one step from a value to a value within it.
type unwrapStep struct {
	kind     stepKind
	path     path.Path
	optional bool
}

type stepKind uint8

const (
	goTo stepKind = iota
	fromText
	fromBase64
)

// open finds the employees' parts of the record. A fault is one of the record as a whole.
func (u unwrapper) open() *Fault {
	value := u.w.rec.Value
	if u.w.p.registry {
		n := framing(value)
		if n == 0 && !u.w.p.registryOptional && value != nil {
			return whole(Malformed, 0, "does not begin with schema-registry framing")
		}
		value = value[n:]
	}
	if problem := notJSON(value); problem != "" {
		return whole(Malformed, 0, problem)
	}
	root, err := u.w.tree.Read(value, len(u.w.rec.Value)-len(value))
	if err != nil {
		return u.malformed(err)
	}
	u.w.root = root
	root, fault := u.steps(u.w.p.unwrap, root)
	if fault != nil {
		fault.Whole = true
		return fault
	}
	return u.documents(root)
}

// framing returns the length of the schema registry's framing, 0 if there is none.
func framing(value []byte) int {
	switch {
	case len(value) > 5 && value[0] == 0:
		return 5
	case len(value) > 17 && value[0] == 1:
		return 17
	}
	return 0
}

// malformed words an error of the tree, with as much of its place as consists of
// names that the mapping mentions.
func (u unwrapper) malformed(err error) *Fault {
	wrong, ok := errors.AsType[*jsontree.Error](err)
	if !ok {
		return whole(Malformed, -1, "is not valid JSON") // cannot happen
	}
	fault := whole(Malformed, int64(wrong.Offset), wrong.Error())
	place, complete := u.knownPath(wrong.Pointer)
	fault.Path = place
	if wrong.Problem == jsontree.Duplicate && complete {
		fault.Text = "occurs twice"
	}
	return fault
}

func (u unwrapper) knownPath(pointer jsontext.Pointer) (place string, complete bool) {
	for name := range pointer.Tokens() {
		if !u.w.p.names[name] {
			return place, false
		}
		place = strings.TrimPrefix(place+"."+name, ".")
	}
	return place, true
}

// steps goes from v along the steps.
func (u unwrapper) steps(steps []unwrapStep, v jsontree.Value) (jsontree.Value, *Fault) {
	for i := range steps {
		to, fault := u.step(&steps[i], v)
		if fault != nil {
			return v, fault
		}
		v = to
	}
	return v, nil
}

func (u unwrapper) step(s *unwrapStep, v jsontree.Value) (jsontree.Value, *Fault) {
	switch {
	case s.kind == goTo:
		to, problem := u.w.follow(nil, v, &s.path, 0)
		if problem != "" {
			return v, &Fault{Reason: InvalidEvent, Path: s.path.Place(), Text: problem, Offset: v.Offset()}
		}
		if !to.Absent() {
			return to, nil
		}
		if s.optional {
			return v, nil
		}
		return v, &Fault{Reason: InvalidEvent, Path: s.path.Place(), Text: "is missing", Offset: -1}
	case !v.IsText() && s.optional:
		return v, nil
	case !v.IsText():
		text := "is " + jsonType(v) + ", not a text that holds JSON"
		return v, &Fault{Reason: Malformed, Whole: true, Text: text, Offset: v.Offset()}
	}
	return u.within(v, s.kind == fromBase64)
}

// within reads the JSON that a JSON text holds.
func (u unwrapper) within(v jsontree.Value, isBase64 bool) (jsontree.Value, *Fault) {
	content, at := []byte(v.Text()), int(v.Offset())
	if isBase64 {
		decoded, err := base64.StdEncoding.AppendDecode(nil, content)
		if err != nil {
			return v, whole(Malformed, int64(at), "is a text that is not base64")
		}
		content = decoded
	}
	inside, err := u.w.another().ReadInner(content, at)
	if err == nil {
		if u.w.masks != nil {
			u.w.masks.inside[v] = inside
		}
		return inside, nil
	}
	fault := u.malformed(err)
	fault.Text = "holds a text that " + fault.Text
	return v, fault
}

// documents takes the documents from the envelope, and the employees from them.
func (u unwrapper) documents(root jsontree.Value) *Fault {
	if u.w.p.kind == cloudEvents {
		return u.cloudEvents(root)
	}
	doc := root
	if u.w.p.kind == debezium || u.w.p.kind == debeziumFlat {
		doc = connectPayload(root)
		if doc.IsNull() {
			u.w.tombstone = true
			return nil
		}
	}
	doc, fault := u.steps(u.w.p.then, doc)
	if fault != nil {
		fault.Whole = true
		return fault
	}
	return u.employees(part{event: doc})
}

// employees appends the parts of the employees in one document.
func (u unwrapper) employees(p part) *Fault {
	if u.w.p.list == nil {
		if !p.event.IsObject() {
			return whole(Malformed, p.event.Offset(), "is "+jsonType(p.event)+", not an object")
		}
		p.item = p.event
		u.w.parts = append(u.w.parts, p)
		return nil
	}
	list, problem := u.w.follow(nil, p.event, u.w.p.list, 0)
	if !list.IsList() { // a route may know what to do with it
		text := problem
		if text == "" {
			text = "is " + jsonType(list) + ", not a list"
		}
		p.fault = &Fault{Reason: InvalidEvent, Whole: true, Path: u.w.p.list.Place(), Text: text, Offset: list.Offset()}
		u.w.parts = append(u.w.parts, p)
		return nil
	}
	index := 0
	for item := range list.Entries() {
		if len(u.w.parts) > maxEmployees {
			return nil // refused as a whole by the caller
		}
		p.item, p.index = item, index
		u.w.parts = append(u.w.parts, p)
		index++
	}
	return nil
}
