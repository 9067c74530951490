package mapper

import (
	"slices"

	"membersync/mapper/internal/path"
	"membersync/mapper/internal/spec"
)

// An identityCompiler compiles the ids and the order.
type identityCompiler struct{ c *compiler }

func (ic identityCompiler) identity(i *spec.Identity) {
	ic.c.p.typ = ic.c.optional(i.Type, path.After, path.Before)
	ic.c.p.op = ic.c.optional(i.Op)
	if ic.c.p.op == nil && ic.c.p.kind == debezium {
		ic.c.p.op = ic.c.implied("$event.op")
	}
	ic.c.p.eventID = ic.source(&i.EventID, "event_id")
	ic.c.p.employeeID = ic.source(&i.EmployeeID, "employee_id")
	ic.c.p.openUser = ic.source(&i.OpenUserID, "open_user_id")
}

// employeeAndTime refuses an event id that is the employee and the time: two changes can have the
// same.
func (ic identityCompiler) employeeAndTime() {
	id, order := &ic.c.p.eventID, &ic.c.p.order
	if len(id.concat) < 2 || order.none || order.kind != byTime {
		return
	}
	known := map[string]bool{}
	for _, paths := range [][]path.Path{ic.c.p.employeeID.from, ic.c.p.openUser.from, order.from} {
		for _, p := range paths {
			known[p.Place()] = true
		}
	}
	if !slices.ContainsFunc(id.concat, func(p path.Path) bool { return !known[p.Place()] }) {
		ic.c.log.Add(ic.c.file.Identity.EventID.At, "event_id is the employee and the time, which two changes can share; use {record: true}")
	}
}

func (ic identityCompiler) source(s *spec.Source, name string) (to source) {
	if !s.At.Given() {
		return to // the decoder has said so
	}
	to = source{from: ic.c.paths(s.From), concat: ic.c.paths(s.Concat), separator: s.Separator.Value, record: s.Record.Value, lookup: s.Lookup.Value}
	given := 0
	for _, is := range []bool{len(s.From) > 0, len(s.Concat) > 0, s.Record.Value} {
		if is {
			given++
		}
	}
	// the record's where from finds nothing
	orRecord := name == "event_id" && len(s.From) > 0 && len(s.Concat) == 0 && s.Record.Value
	switch {
	case given != 1 && !orRecord:
		ic.c.log.Add(s.At, name+" needs exactly one of from, concat and record")
	case s.Record.Value && name != "event_id":
		ic.c.log.Add(s.Record.Pos, "only event_id can be that of the record")
	case s.Lookup.Given() && name != "open_user_id":
		ic.c.log.Add(s.Lookup.Pos, "only open_user_id has a lookup")
	case s.Separator.Given() && len(s.Concat) == 0:
		ic.c.log.Add(s.Separator.Pos, "separator stands between the parts of concat, and there is none")
	}
	if s.Lookup.Given() {
		ic.c.lookups.use(s.Lookup)
	}
	return to
}

func (ic identityCompiler) order(o *spec.Order) {
	if !o.At.Given() {
		return // the decoder has said so
	}
	rule := &ic.c.p.order
	rule.epoch, rule.from = o.Epoch.Value, ic.c.paths(o.From)
	if o.Epoch.Value > 999999 {
		ic.c.log.Add(o.Epoch.Pos, "epoch is at most 999999")
	}
	switch o.Kind.Value {
	case "none":
		rule.none = true
	case "time":
		rule.kind = byTime
		rule.dates = ic.c.dates(&o.Dates)
		ic.c.needsZone(o.At, &rule.dates)
	}
	switch {
	case rule.none && len(o.From) > 0:
		ic.c.log.Add(o.At, "an order of kind none has no from: it is the record's timestamp")
	case !rule.none && len(o.From) == 0:
		ic.c.log.Add(o.At, "order needs from")
	}
	if o.Kind.Value != "time" {
		ic.c.noDates(&o.Dates, "an order by time")
	}
}
