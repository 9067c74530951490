package mapper

import (
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
		return tombstone()
	}
	if fault := w.open(); fault != nil {
		return []Result{{Fault: fault}}
	}
	switch n := len(w.parts); {
	case w.tombstone:
		return tombstone()
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
