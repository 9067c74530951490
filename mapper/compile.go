package mapper

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"membersync/mapper/internal/jq"
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
	lookups lookupCompiler
}

func (c *compiler) compile(file *spec.File) {
	c.file, c.lookups = file, lookupCompiler{c: c, used: map[string]bool{}}
	c.zone = c.options.Zone
	if file.Zone.Given() {
		c.zone = c.loadZone(file.Zone)
	}
	c.lookups.compileLookups()
	envelopeCompiler{c}.envelope(&file.Envelope)
	identityCompiler{c}.identity(&file.Identity)
	identityCompiler{c}.order(&file.Order)
	identityCompiler{c}.employeeAndTime()
	c.p.deadTombstones = file.Tombstones.Value == "dead_letter"
	stateCompiler{c}.states(&file.States)
	for i := range file.Routes {
		(&routeCompiler{c: c}).route(&file.Routes[i])
	}
	for i := range file.Fields {
		fieldCompiler{c}.field(&file.Fields[i])
	}
	slices.SortStableFunc(c.p.fields, func(a, b fieldRule) int { return int(a.field) - int(b.field) })
	if len(c.p.fields) == 0 && c.log.Len() == 0 {
		c.log.Add(spec.Pos{}, "fields names no field")
	}
	c.p.personal, c.p.public = c.documentPaths(file.Personal), c.documentPaths(file.Public)
	for i := range file.Examples {
		exampleCompiler{c}.example(&file.Examples[i])
	}
	for _, l := range file.Lookups {
		if !c.lookups.used[l.Name.Value] && c.log.Len() == 0 { // next to other faults it is mostly a part of one
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

// implied is a path that the format itself gives.
func (c *compiler) implied(text string) *path.Path {
	p, _ := c.path(spec.Path{Value: text})
	return &p
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

func (c *compiler) onlyFor(fits bool, at spec.Pos, what string) {
	if at.Given() && !fits {
		c.log.Add(at, "is only for "+what)
	}
}

// program compiles a jq program, as a path whose value is its result.
func (c *compiler) program(text *spec.Program) (p path.Path, ok bool) {
	p.Text = "jq at line " + strconv.Itoa(text.Line)
	program, err := jq.Compile(text.Value, variables())
	if err != nil {
		at, problem := text.Pos, "is no jq program"
		if fault, is := err.(*jq.SyntaxError); is { //nolint:errorlint // Compile returns nothing else
			at, problem = text.At(fault.Offset), fault.Text
		}
		c.log.Add(at, "jq: "+problem)
		return p, false
	}
	p.JQ = program
	for _, name := range program.Reads.Names {
		c.p.names[name] = true
	}
	c.p.readsAny = c.p.readsAny || program.Reads.Whole
	return p, true
}
