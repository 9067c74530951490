package mapper

import (
	"slices"

	"membersync/crmapi"
	"membersync/mapper/internal/path"
)

// A Coverage tells what a sample of records has at the paths of a mapping. A column that was
// renamed at the source is silence otherwise: a field that is absent is unchanged. It is not
// safe for concurrent use.
type Coverage struct {
	// Employees counts the parts of records by their outcome: update, unchanged, ignored, rejected.
	Employees map[string]int
	// Faults counts the rejected ones by what is wrong. Their offset is always -1.
	Faults map[Fault]int
	// Unasked counts those of the rejected ones that may lack only what a lookup of Redis holds.
	Unasked int

	mapping *Mapping
	found   map[*path.Path]bool
}

// NewCoverage returns a coverage of no records.
func (m *Mapping) NewCoverage() *Coverage {
	return &Coverage{Employees: map[string]int{}, Faults: map[Fault]int{}, mapping: m, found: map[*path.Path]bool{}}
}

// Add maps a record. Found is as in [Mapping.MapWith].
func (c *Coverage) Add(rec Record, found map[Reference]string) {
	isUnasked := slices.ContainsFunc(c.mapping.References(rec), func(ref Reference) bool {
		_, given := found[ref]
		return !given
	})
	for _, r := range c.mapping.MapWith(rec, found) {
		if r.Fault != nil {
			c.Reject(*r.Fault)
			if isUnasked && r.Fault.Reason == UnresolvedReference {
				c.Unasked++
			}
			continue
		}
		outcome, _ := r.outcome()
		c.Employees[outcome]++
	}
	if rec.Value == nil || c.mapping.oversized(rec) != nil {
		return
	}
	w := c.mapping.work(rec)
	defer c.mapping.done(w)
	w.lookups.resolved = found
	if (unwrapper{w}).open() != nil {
		return
	}
	for i := range w.parts {
		m := w.interpreter(&w.parts[i])
		stateReader{m}.locate()
		stateReader{m}.readStates()
		c.look(m)
	}
}

// Reject counts a rejected part of a record, or a record that is rejected whole.
func (c *Coverage) Reject(fault Fault) {
	fault.Offset = -1
	c.Faults[fault]++
	c.Employees[outcomeRejected]++
}

// look notes the paths of fields at which one employee's part has something, new or old.
func (c *Coverage) look(m *interpreter) {
	for i := range m.p.fields {
		for j := range m.p.fields[i].paths {
			p := &m.p.fields[i].paths[j]
			for _, s := range []side{newSide, oldSide} {
				if v, problem := m.states.value(s, p); problem != "" || !v.Absent() {
					c.found[p] = true
				}
			}
		}
	}
}

// A SilentPath is a path of a field at which no record of the sample had anything.
type SilentPath struct {
	Field crmapi.Field
	Path  string // as the mapping file writes it
	Alone bool   // no other path of the field had anything either
}

// Silent lists the paths at which there was nothing, in the order of the API's fields.
func (c *Coverage) Silent() (silent []SilentPath) {
	for i := range c.mapping.program.fields {
		rule := &c.mapping.program.fields[i]
		alone := true
		for j := range rule.paths {
			alone = alone && !c.found[&rule.paths[j]]
		}
		for j := range rule.paths {
			if p := &rule.paths[j]; !c.found[p] {
				silent = append(silent, SilentPath{Field: rule.field, Path: p.Text, Alone: alone})
			}
		}
	}
	return silent
}

// NeedsZone lists the fields whose dates all fail since no zone is known for them: days, wall
// clocks and formats without an offset. See [Options.Zone].
func (m *Mapping) NeedsZone() (fields []crmapi.Field) {
	for i := range m.program.fields {
		if rule := &m.program.fields[i]; rule.as == asDate && rule.constant == nil && rule.dates.lacksZone() {
			fields = append(fields, rule.field)
		}
	}
	return fields
}

// lacksZone reports whether nothing that the rule reads has a zone.
func (r *dateRule) lacksZone() bool {
	switch {
	case r.zone != nil:
		return false
	case r.wall || r.unit == days:
		return true
	case r.unit != noUnit || len(r.layouts) > 0:
		return false
	}
	return !slices.ContainsFunc(r.formats, func(f dateFormat) bool { return f == formatRFC3339 || f == formatOffset || f == formatOData })
}
