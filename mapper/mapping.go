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

// A Mapping knows how one source writes its events. It is immutable and safe for concurrent use.
type Mapping struct {
	name    string
	options Options
	program *program
	tables  map[string]Table // by the names of lookups
	works   *sync.Pool       // of *work: decoders are expensive to make
}

// Map returns what the record says, one result for each employee in it and at least
// one. It never panics, whatever the bytes are.
func (m *Mapping) Map(rec Record) []Result { return m.MapWith(rec, nil) }

// Fields lists the member fields that the mapping can set, in the order of the API.
func (m *Mapping) Fields() []crmapi.Field {
	var fields []crmapi.Field
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
	w.meta.w, w.jq.w, w.lookups.w = w, w, w
	return w
}

func (m *Mapping) done(w *work) {
	w.release()
	m.works.Put(w)
}
