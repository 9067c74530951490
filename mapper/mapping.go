package mapper

import (
	"fmt"
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
	options  Options
	order    order
	names    map[string]crmapi.Field
	rules    [crmapi.NumFields]rule
	scanners *sync.Pool // of *scanner: decoders are expensive to make
}

// Builtin returns a mapping of the canonical event by name: canonical orders by
// sequence, canonical-time by occurredAt.
func Builtin(name string, opts Options) (*Mapping, error) {
	switch name {
	case "canonical":
		return newMapping(opts, order{kind: bySequence}), nil
	case "canonical-time":
		return newMapping(opts, order{kind: byTime}), nil
	}
	return nil, fmt.Errorf("mapping %q is not built in; canonical and canonical-time are", name)
}

// newMapping assembles a mapping with the rules of the canonical event.
func newMapping(opts Options, by order) *Mapping {
	m := &Mapping{
		options:  opts,
		order:    by,
		names:    make(map[string]crmapi.Field, crmapi.NumFields),
		rules:    canonicalRules(opts.Zone),
		scanners: &sync.Pool{New: func() any { return new(scanner) }},
	}
	for f := range crmapi.Field(crmapi.NumFields) {
		m.names[f.String()] = f
	}
	return m
}

// Map returns what the record says, one result for each employee in it and at least
// one. It never panics, whatever the bytes are.
func (m *Mapping) Map(rec Record) []Result {
	if n, bound := rec.size(), m.options.MaxRecordBytes; bound > 0 && n > bound {
		text := "has " + strconv.Itoa(n) + " bytes with its key; the bound is " + strconv.Itoa(bound)
		return []Result{{Fault: whole(Oversized, -1, text)}}
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
