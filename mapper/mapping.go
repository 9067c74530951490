package mapper

import (
	"strconv"
	"sync"
	"time"

	"membersync/crmapi"
)

// Options are the settings that every mapping takes from the configuration.
type Options struct {
	// MaxRecordBytes bounds key and value together; a larger record is oversized and
	// is not parsed. Zero: no bound.
	MaxRecordBytes int
	// MaxAhead bounds how far the time of an event may lie ahead of its record's
	// timestamp. It counts only for an order by time. Zero: no bound.
	MaxAhead time.Duration
	// Zone is the zone of dates without one. Nil: such a date is invalid_field.
	Zone *time.Location
}

// A Mapping knows how one source writes its events. It is immutable and safe for
// concurrent use.
type Mapping struct {
	name     string
	options  Options
	program  *program         // of a mapping file; nil for the canonical event, which is read in one pass
	tables   map[string]Table // by the names of lookups
	works    *sync.Pool       // of *work
	file     func() *Mapping  // that says the same as the reader of the canonical event
	order    order
	names    map[string]crmapi.Field
	rules    [crmapi.NumFields]rule
	scanners *sync.Pool // of *scanner: decoders are expensive to make
}

// newMapping assembles a mapping with the rules of the canonical event.
func newMapping(name string, opts Options, by order) *Mapping {
	m := &Mapping{
		name:     name,
		options:  opts,
		order:    by,
		names:    make(map[string]crmapi.Field, crmapi.NumFields),
		rules:    canonicalRules(opts.Zone),
		scanners: &sync.Pool{New: func() any { return new(scanner) }},
	}
	m.file = sync.OnceValue(func() *Mapping {
		read, err := Parse(name, builtinFile(name), opts)
		if err != nil {
			panic("mapper: a built-in mapping is wrong: " + err.Error()) // cannot happen: a test reads them all
		}
		return read
	})
	for f := range crmapi.Field(crmapi.NumFields) {
		m.names[f.String()] = f
	}
	return m
}

// Map returns what the record says, one result for each employee in it and at least
// one. It never panics, whatever the bytes are.
func (m *Mapping) Map(rec Record) []Result {
	if m.program != nil {
		return m.MapWith(rec, nil)
	}
	if fault := m.oversized(rec); fault != nil {
		return []Result{{Fault: fault}}
	}
	if rec.Value == nil {
		return tombstone()
	}
	if problem := notJSON(rec.Value); problem != "" {
		return []Result{{Fault: whole(Malformed, 0, problem)}}
	}
	s, ok := m.scanners.Get().(*scanner)
	if !ok {
		s = new(scanner) // cannot happen
	}
	defer m.scanners.Put(s)
	defer s.release()
	if fault := s.scan(rec.Value, m.names); fault != nil {
		return []Result{{Fault: fault}}
	}
	return []Result{m.event(&s.doc, rec)}
}

// Fields lists the member fields that the mapping can set, in the order of the API.
func (m *Mapping) Fields() []crmapi.Field {
	var fields []crmapi.Field
	if m.program == nil {
		for f := range crmapi.Field(crmapi.NumFields) {
			fields = append(fields, f)
		}
		return fields
	}
	for i := range m.program.fields {
		fields = append(fields, m.program.fields[i].field)
	}
	return fields
}

// tombstone is the result of a record without a value: a compacted topic's note that a key is gone.
func tombstone() []Result { return []Result{{Event: Event{Ignored: "tombstone"}}} }

func (m *Mapping) oversized(rec Record) *Fault {
	n, bound := rec.size(), m.options.MaxRecordBytes
	if bound <= 0 || n <= bound {
		return nil
	}
	return whole(Oversized, -1, "has "+strconv.Itoa(n)+" bytes with its key; the bound is "+strconv.Itoa(bound))
}

// work returns what it takes to map a record by a mapping file, and done takes it back.
func (m *Mapping) work(rec Record) *work {
	w, ok := m.works.Get().(*work)
	if !ok {
		w = newWork() // cannot happen
	}
	w.m, w.p, w.rec = m, m.program, rec
	return w
}

func (m *Mapping) done(w *work) {
	w.release()
	m.works.Put(w)
}
