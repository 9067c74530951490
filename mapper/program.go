package mapper

import (
	"membersync/mapper/internal/jq"
	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// maxEmployees bounds the list of employees in one record.
const maxEmployees = 1000

// A program is a mapping file made ready to run. It is immutable.
type program struct {
	kind                          envelopeKind
	registry, registryOptional    bool // the value begins with the schema registry's framing
	unwrap, then                  []unwrapStep
	key                           keyRule
	list                          *path.Path
	eventID, employeeID, openUser source
	typ, op                       *path.Path
	order                         orderRule
	states                        stateRule
	routes                        []route
	fields                        []fieldRule
	lookups                       []Lookup
	inline                        map[string]Table // lookups whose table stands in the file
	external                      map[string]bool  // lookups that the caller resolves
	names                         map[string]bool  // that the mapping mentions, so faults may too
	readsAny                      bool             // a jq program may read any member
	deadTombstones                bool
	folded                        map[string]bool // lookups whose keys are lower case
	personal, public              []path.Path
	examples                      []example
}

type envelopeKind uint8

const (
	plain envelopeKind = iota
	cloudEvents
	debezium
	debeziumFlat
)

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
	key       jsontree.Value
	keyRead   bool
	keyWrong  string
	resolved  map[Reference]string // what the caller found for lookups that are not tables
	collects  bool                 // needs are gathered, and nothing else matters
	needs     []Reference
	explained []Explanation
	explains  bool
	masks     *masker        // set while masking
	root      jsontree.Value // of the record's value
	tombstone bool           // the envelope holds no document
	budget    *jq.Budget     // of all jq programs
	ran       map[jqRun]jqResult
	plains    map[jsontree.Value]any
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

// another returns a tree for a text within the text.
func (w *work) another() *jsontree.Tree {
	if w.used == len(w.inner) {
		w.inner = append(w.inner, new(jsontree.Tree))
	}
	w.used++
	return w.inner[w.used-1]
}

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

// run maps the record: one result for each employee in it.
func (w *work) run() []Result {
	if w.rec.Value == nil {
		return w.tombstones()
	}
	if fault := w.open(); fault != nil {
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

// tombstones decides about a record without a value. Only routes count that look at nothing but
// what such a record has: its key, its headers, and $event, which is absent. Others were not
// written for it.
func (w *work) tombstones() []Result {
	w.parts = append(w.parts[:0], part{})
	m := interpreter{w: w, p: w.p, part: &w.parts[0]}
	if w.explains {
		w.explained = append(w.explained, Explanation{})
	}
	result := tombstone()[0]
	if w.p.deadTombstones {
		result = Result{Fault: whole(Malformed, 0, "is null (a tombstone)")}
	}
	for i := range w.p.routes {
		r := &w.p.routes[i]
		if !r.outside || !r.when(&m) && !m.broken {
			continue
		}
		if m.broken || m.follow(r) {
			result = Result{Event: m.event, Fault: m.fault}
		}
		break
	}
	if w.explains {
		w.explained[0].Result = result
	}
	return []Result{result}
}
