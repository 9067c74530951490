package mapper

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"membersync/mapper/internal/path"
	"membersync/mapper/internal/spec"
)

// A compiler turns a mapping file into a program. It goes on behind a fault, so that all are told.
type compiler struct {
	log     *spec.Log
	options Options
	file    *spec.File
	zone    *time.Location
	p       *program
	lookups []string
	used    map[string]bool // lookups
	item    bool            // the condition at hand looks at the employee's entry
	outside bool            // it looks at nothing but the key, headers, and whether there is an event
}

func (c *compiler) compile(file *spec.File) {
	c.file, c.used = file, map[string]bool{}
	c.zone = c.options.Zone
	if file.Zone.Given() {
		c.zone = c.loadZone(file.Zone)
	}
	c.compileLookups()
	c.envelope(&file.Envelope)
	c.identity(&file.Identity)
	c.order(&file.Order)
	c.employeeAndTime()
	c.p.deadTombstones = file.Tombstones.Value == "dead_letter"
	c.states(&file.States)
	for i := range file.Routes {
		c.route(&file.Routes[i])
	}
	for i := range file.Fields {
		c.field(&file.Fields[i])
	}
	slices.SortStableFunc(c.p.fields, func(a, b fieldRule) int { return int(a.field) - int(b.field) })
	if len(c.p.fields) == 0 && c.log.Len() == 0 {
		c.log.Add(spec.Pos{}, "fields names no field")
	}
	c.p.personal, c.p.public = c.documentPaths(file.Personal), c.documentPaths(file.Public)
	for i := range file.Examples {
		c.example(&file.Examples[i])
	}
	for _, l := range file.Lookups {
		if !c.used[l.Name.Value] && c.log.Len() == 0 { // next to other faults it is mostly a part of one

			c.log.Add(l.Name.Pos, "lookup "+strconv.Quote(l.Name.Value)+" is not used")
		}
	}
}

func (c *compiler) loadZone(name spec.Text) *time.Location {
	if name.Value == "" || name.Value == "Local" {
		c.log.Add(name.Pos, "should be a zone such as Asia/Shanghai or UTC")
		return time.UTC
	}
	zone, err := time.LoadLocation(name.Value)
	if err != nil {
		c.log.Add(name.Pos, strconv.Quote(name.Value)+" is no zone that is known here; one is Asia/Shanghai")
		return time.UTC
	}
	return zone
}

// path parses a path. Roots are those that make no sense here.
func (c *compiler) path(p spec.Path, unfit ...path.Root) (parsed path.Path, ok bool) {
	if p.JQ != nil {
		return c.program(p.JQ)
	}
	parsed, problem := path.Parse(p.Value)
	if problem == "" && slices.Contains(unfit, parsed.Root) {
		problem = "begins with " + path.Roots()[parsed.Root] + ", which does not exist here"
	}
	if problem == "" && parsed.Root == path.Attribute && c.p.kind != cloudEvents {
		problem = "begins with $ce, and the envelope is not cloudevents"
	}
	if problem != "" {
		if root, _, _ := strings.Cut(p.Value, "."); strings.HasPrefix(root, "$") && !slices.Contains(path.Roots(), root) {
			problem += spec.Hint(root, path.Roots()[1:])
		}
		c.log.Add(p.Pos, "path "+strconv.Quote(p.Value)+" "+problem)
		return parsed, false
	}
	for name := range parsed.Names {
		c.p.names[name] = true
	}
	return parsed, true
}

// optional parses a path that need not be given.
func (c *compiler) optional(p spec.Path, unfit ...path.Root) *path.Path {
	if !p.Given() {
		return nil
	}
	if parsed, ok := c.path(p, unfit...); ok {
		return &parsed
	}
	return nil
}

func (c *compiler) paths(ps []spec.Path, unfit ...path.Root) (parsed []path.Path) {
	for _, p := range ps {
		if one, ok := c.path(p, unfit...); ok {
			parsed = append(parsed, one)
		}
	}
	return parsed
}

// relative lists the roots that make no sense for a path within a value.
func relative() []path.Root {
	return []path.Root{path.Event, path.Item, path.After, path.Before, path.Key, path.Header, path.Attribute}
}

func (c *compiler) documentPaths(ps []spec.Path) []path.Path {
	return c.paths(ps, path.Key, path.Header)
}

// find returns the place of a value in a list, which the decoder has checked; the first if it is
// not given.
func find(list []string, t spec.Text) int { return max(slices.Index(list, t.Value), 0) }

func (c *compiler) envelope(e *spec.Envelope) {
	c.p.kind = envelopeKind(find([]string{"plain", "cloudevents", "debezium", "debezium-flat"}, e.Kind)) //nolint:gosec // four
	c.p.registry, c.p.registryOptional, c.p.unwrap = c.steps(e.Unwrap, true)
	_, _, c.p.then = c.steps(e.Then, false)
	c.p.key.isJSON = e.Key.As.Value == "json"
	c.p.key.registry, c.p.key.registryOptional, c.p.key.unwrap = c.steps(e.Key.Unwrap, true)
	if len(e.Key.Unwrap) > 0 && !c.p.key.isJSON {
		c.log.Add(e.Key.At, "the key is unwrapped only if it is read as json")
	}
	c.p.list = c.optional(e.List, path.Item, path.After, path.Before, path.Key, path.Header, path.Attribute)
}

// steps compiles the steps of unwrapping. Framing stands before the JSON, so it comes first.
func (c *compiler) steps(steps []spec.Step, fromBytes bool) (registry, optional bool, to []unwrapStep) {
	for i := range steps {
		s := &steps[i]
		given := unwrapStep{optional: s.Optional.Value}
		switch {
		case s.Is.Given() == s.Path.Given():
			c.log.Add(s.At, "a step is either is or path")
			continue
		case s.Is.Value == "registry":
			if i > 0 || !fromBytes {
				c.log.Add(s.At, "registry is the first step from the bytes, or none")
			}
			registry, optional = true, s.Optional.Value
			continue
		case s.Is.Value == "text":
			given.kind = fromText
		case s.Is.Value == "base64":
			given.kind = fromBase64
		default:
			var ok bool
			if given.path, ok = c.path(s.Path, relative()...); !ok {
				continue
			}
		}
		to = append(to, given)
	}
	return registry, optional, to
}

func (c *compiler) identity(i *spec.Identity) {
	c.p.typ = c.optional(i.Type, path.After, path.Before)
	c.p.op = c.optional(i.Op)
	if c.p.op == nil && c.p.kind == debezium {
		c.p.op = c.implied("$event.op")
	}
	c.p.eventID = c.source(&i.EventID, "event_id")
	c.p.employeeID = c.source(&i.EmployeeID, "employee_id")
	c.p.openUser = c.source(&i.OpenUserID, "open_user_id")
}

// employeeAndTime refuses an event id that is the employee and the time: two changes can have the
// same.
func (c *compiler) employeeAndTime() {
	id, order := &c.p.eventID, &c.p.order
	if len(id.concat) < 2 || order.none || order.kind != byTime {
		return
	}
	known := map[string]bool{}
	for _, paths := range [][]path.Path{c.p.employeeID.from, c.p.openUser.from, order.from} {
		for _, p := range paths {
			known[p.Place()] = true
		}
	}
	if !slices.ContainsFunc(id.concat, func(p path.Path) bool { return !known[p.Place()] }) {
		c.log.Add(c.file.Identity.EventID.At, "event_id is the employee and the time, which two changes can share; use {record: true}")
	}
}

// implied is a path that the format itself gives.
func (c *compiler) implied(text string) *path.Path {
	p, _ := c.path(spec.Path{Value: text})
	return &p
}

func (c *compiler) source(s *spec.Source, name string) (to source) {
	if !s.At.Given() {
		return to // the decoder has said so
	}
	to = source{from: c.paths(s.From), concat: c.paths(s.Concat), separator: s.Separator.Value, record: s.Record.Value, lookup: s.Lookup.Value}
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
		c.log.Add(s.At, name+" needs exactly one of from, concat and record")
	case s.Record.Value && name != "event_id":
		c.log.Add(s.Record.Pos, "only event_id can be that of the record")
	case s.Lookup.Given() && name != "open_user_id":
		c.log.Add(s.Lookup.Pos, "only open_user_id has a lookup")
	case s.Separator.Given() && len(s.Concat) == 0:
		c.log.Add(s.Separator.Pos, "separator stands between the parts of concat, and there is none")
	}
	if s.Lookup.Given() {
		c.use(s.Lookup)
	}
	return to
}

// use notes that a lookup is used.
func (c *compiler) use(name spec.Text) {
	c.used[name.Value] = true
	if !slices.Contains(c.lookups, name.Value) {
		c.log.Add(name.Pos, strconv.Quote(name.Value)+" is no lookup of this file"+spec.Hint(name.Value, c.lookups))
	}
}

func (c *compiler) compileLookups() {
	for i := range c.file.Lookups {
		name, l := c.file.Lookups[i].Name, &c.file.Lookups[i].Value
		c.lookups = append(c.lookups, name.Value)
		given := 0
		for _, is := range []bool{l.Table != nil, l.File.Given(), l.Redis.Given()} {
			if is {
				given++
			}
		}
		switch {
		case given != 1:
			c.log.Add(name.Pos, "lookup "+strconv.Quote(name.Value)+" needs exactly one of table, file and redis")
		case l.Table != nil:
			table := c.table(l.Table)
			if l.Fold.Value == "lower" {
				folded, twice := foldedTable(table)
				if twice != "" {
					c.log.Add(name.Pos, "lookup "+strconv.Quote(name.Value)+" gives "+strconv.Quote(twice)+" two values where case does not count")
				}
				table = folded
			}
			c.p.inline[name.Value] = table
		default:
			c.p.external[name.Value] = l.Redis.Given()
			c.p.lookups = append(c.p.lookups, Lookup{
				Name: name.Value, File: l.File.Value, Key: l.Key.Value, Value: l.Value.Value, Redis: l.Redis.Value,
				Line: name.Line, Column: name.Column,
			})
		}
		if l.Fold.Value == "lower" {
			c.p.folded[name.Value] = true
		}
		if (l.Key.Given() || l.Value.Given()) && !l.File.Given() {
			c.log.Add(name.Pos, "key and value are columns of a file, and there is none")
		}
	}
}

func (c *compiler) table(entries spec.Map[spec.Scalar]) inlineTable {
	t := inlineTable{}
	for _, e := range entries {
		if e.Value.Null || e.Value.Value == "" {
			c.log.Add(e.Value.Pos, "a table translates to something")
		}
		t[e.Name.Value] = e.Value.Value
	}
	return t
}

func (c *compiler) order(o *spec.Order) {
	if !o.At.Given() {
		return // the decoder has said so
	}
	rule := &c.p.order
	rule.epoch, rule.from = o.Epoch.Value, c.paths(o.From)
	if o.Epoch.Value > 999999 {
		c.log.Add(o.Epoch.Pos, "epoch is at most 999999")
	}
	switch o.Kind.Value {
	case "none":
		rule.none = true
	case "time":
		rule.kind = byTime
		rule.dates = c.dates(&o.Dates)
		c.needsZone(o.At, &rule.dates)
	}
	switch {
	case rule.none && len(o.From) > 0:
		c.log.Add(o.At, "an order of kind none has no from: it is the record's timestamp")
	case !rule.none && len(o.From) == 0:
		c.log.Add(o.At, "order needs from")
	}
	if o.Kind.Value != "time" {
		c.noDates(&o.Dates, "an order by time")
	}
}

// dates compiles how times are written.
func (c *compiler) dates(d *spec.Dates) (rule dateRule) {
	rule.unit = dateUnit(find(dateUnits(), d.Unit)) //nolint:gosec // six
	rule.zone, rule.wall = c.zone, d.Wall.Value
	if d.Zone.Given() {
		rule.zone = c.loadZone(d.Zone)
	}
	for _, f := range d.Formats {
		rule.formats = append(rule.formats, dateFormat(find(dateFormats(), f))) //nolint:gosec // eight
		if f.Value == "compact" && rule.unit != noUnit {
			c.log.Add(f.Pos, "compact and a unit cannot be told apart: both are digits")
		}
	}
	for _, l := range d.Layout {
		if problem := layoutProblem(l.Value); problem != "" {
			c.log.Add(l.Pos, strconv.Quote(l.Value)+" "+problem)
		}
		rule.layouts = append(rule.layouts, l.Value)
	}
	if d.Formats == nil && d.Layout == nil {
		rule.formats = []dateFormat{formatRFC3339, formatOffset, formatLocal, formatDate}
	}
	if d.Wall.Value && (rule.unit == noUnit || rule.unit == days) {
		c.log.Add(d.Wall.Pos, "wall is about numbers with the unit s, ms, us or ns")
	}
	return rule
}

// needsZone tells where no zone is known that every event would need.
func (c *compiler) needsZone(at spec.Pos, rule *dateRule) {
	if rule.zone == nil && (rule.wall || rule.unit == days) {
		c.log.Add(at, "needs a zone: here, for the file, or by MEMBERSYNC_TIMEZONE")
	}
}

// noDates refuses keys about dates where there are none.
func (c *compiler) noDates(d *spec.Dates, only string) {
	for _, at := range []spec.Pos{first(d.Formats), first(d.Layout), d.Unit.Pos, d.Zone.Pos, d.Wall.Pos} {
		if at.Given() {
			c.log.Add(at, "is only for "+only)
		}
	}
}

func first(texts []spec.Text) spec.Pos {
	if len(texts) == 0 {
		return spec.Pos{}
	}
	return texts[0].Pos
}

func scalars(list []spec.Scalar) (to []scalar) {
	for _, s := range list {
		to = append(to, scalar{value: s.Value, null: s.Null})
	}
	return to
}

func texts(list []spec.Text) (to []string) {
	for _, t := range list {
		to = append(to, t.Value)
	}
	return to
}

// unescaped is a path as a source would name it in a list of changes.
func unescaped(p path.Path) string {
	var names []string
	for name := range p.Names {
		names = append(names, name)
	}
	return strings.Join(names, ".")
}
