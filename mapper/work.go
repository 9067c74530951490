package mapper

import (
	"slices"

	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// maxEmployees bounds the list of employees in one record.
const maxEmployees = 1000

// A work is the state of mapping one record.
type work struct {
	m         *Mapping
	p         *program
	rec       Record
	tree      *jsontree.Tree
	inner     []*jsontree.Tree // of texts within the text; the first used of them are in use
	used      int
	parts     []part
	known     map[place]jsontree.Value // what was found in the document
	masks     *masker                  // set while masking
	root      jsontree.Value           // of the record's value
	tombstone bool                     // the envelope holds no document
	meta      metadata
	jq        jqRunner
	lookups   resolver
	notes     notes
	current   interpreter // of the employee at hand
}

// A part is what one employee has of a record.
type part struct {
	event      jsontree.Value // the document
	attributes jsontree.Value // of a structured CloudEvent
	item       jsontree.Value // the employee's entry, or the document
	index      int            // in its list
	fault      *Fault         // the part could not be read
}

func newWork() *work { return &work{tree: new(jsontree.Tree)} }

// maxInner bounds the trees that are kept for the next record.
const maxInner = 8

// release lets go of the record.
func (w *work) release() {
	w.tree.Release()
	for _, t := range w.inner[:w.used] {
		t.Release()
	}
	w.inner = w.inner[:min(len(w.inner), maxInner)]
	clear(w.parts)
	*w = work{tree: w.tree, inner: w.inner, parts: w.parts[:0]}
}

// another returns a tree for a text within the text.
func (w *work) another() *jsontree.Tree {
	if w.used == len(w.inner) {
		w.inner = append(w.inner, new(jsontree.Tree))
	}
	w.used++
	return w.inner[w.used-1]
}

// run maps the record: one result for each employee in it.
func (w *work) run() []Result {
	if w.rec.Value == nil {
		return w.tombstones()
	}
	if fault := (unwrapper{w}).open(); fault != nil {
		return []Result{{Fault: fault}}
	}
	switch n := len(w.parts); {
	case w.tombstone:
		return w.tombstones()
	case n == 0:
		return []Result{{Event: Event{Ignored: "no employees"}}}
	case n > maxEmployees:
		return []Result{{Fault: whole(InvalidEvent, -1, "holds more than 1000 employees")}}
	}
	results := make([]Result, len(w.parts))
	for i := range w.parts {
		results[i] = w.member(i)
	}
	return results
}

// member maps the part of one employee.
func (w *work) member(i int) Result {
	m := w.interpreter(&w.parts[i])
	m.event.Index, m.event.Count = i, len(w.parts)
	if w.notes.on {
		w.notes.list = append(w.notes.list, Explanation{})
	}
	stateReader{m}.locate()
	identityReader{m}.identify()
	m.interpret()
	w.notes.unread(m)
	result := Result{Event: m.event, Fault: m.fault}
	if m.fault != nil && m.fault.Whole {
		result.Event = Event{}
	}
	if w.notes.on {
		w.notes.list[i].Result = result
	}
	return result
}

// interpreter begins with the next employee.
func (w *work) interpreter(p *part) *interpreter {
	w.current = interpreter{w: w, p: w.p, part: p, notes: &w.notes}
	w.current.states.m = &w.current
	return &w.current
}

// tombstones decides about a record without a value. Only routes count that look at nothing but
// what such a record has: its key, its headers, and $event, which is absent. Others were not
// written for it.
func (w *work) tombstones() []Result {
	w.parts = append(w.parts[:0], part{})
	m := w.interpreter(&w.parts[0])
	if w.notes.on {
		w.notes.list = append(w.notes.list, Explanation{})
	}
	result := tombstone()[0]
	if w.p.deadTombstones {
		result = Result{Fault: whole(Malformed, 0, "is null (a tombstone)")}
	}
	for i := range w.p.routes {
		r := &w.p.routes[i]
		if !r.outside || !r.when(m) && !m.broken {
			continue
		}
		if m.broken || (router{m}).follow(r) {
			result = Result{Event: m.event, Fault: m.fault}
		}
		break
	}
	if w.notes.on {
		w.notes.list[0].Result = result
	}
	return []Result{result}
}

// fewParts is the number of employees up to which a record is not worth any measures against
// crafted ones.
const fewParts = 8

// A place is a path in a document.
type place struct {
	path *path.Path
	doc  jsontree.Value
}

// once finds a value of the document once for all of its employees, unless it depends on which they
// are: with a thousand employees in a document of many members, finding it again each time takes
// seconds.
func (w *work) once(p *path.Path, of *part) jsontree.Value {
	if slices.ContainsFunc(p.Steps, func(s path.Step) bool { return s.Kind == path.Current }) {
		return w.p.walk(of.event, p.Steps, of.index)
	}
	at := place{p, of.event}
	v, ok := w.known[at]
	if !ok {
		v = w.p.walk(of.event, p.Steps, of.index)
		if w.known == nil {
			w.known = map[place]jsontree.Value{}
		}
		w.known[at] = v
	}
	return v
}

// follow returns what a path means in a value, which it begins in.
func (w *work) follow(m *interpreter, v jsontree.Value, p *path.Path, index int) (jsontree.Value, string) {
	if p.JQ != nil {
		return w.jq.run(m, p.JQ, v)
	}
	return w.p.walk(v, p.Steps, index), ""
}
