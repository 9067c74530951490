package mapper

import (
	"slices"
	"strconv"

	"membersync/mapper/internal/path"
	"membersync/mapper/internal/spec"
)

// A routeCompiler compiles one route.
type routeCompiler struct {
	c       *compiler
	item    bool // the condition looks at the employee's entry
	outside bool // it looks at nothing but the key, headers, and whether there is an event
}

func (rc *routeCompiler) route(r *spec.Route) {
	if r.Name.Given() && r.Name.Value == "" {
		rc.c.log.Add(r.Name.Pos, "a route has a name")
	}
	rc.item, rc.outside = false, true
	if when := rc.condition(&r.When); when != nil {
		do := action(find(actions(), r.Do)) //nolint:gosec // four
		rc.c.p.routes = append(rc.c.p.routes, route{name: r.Name.Value, when: when, do: do, item: rc.item, outside: rc.outside})
	}
}

// condition compiles a condition: all that it names must hold. It is nil if something is wrong with
// it.
func (rc *routeCompiler) condition(s *spec.Condition) condition {
	if !s.At.Given() {
		return nil // the decoder has said so
	}
	before := rc.c.log.Len()
	all := rc.combined(s)
	if s.JQ != nil {
		if p, ok := rc.c.program(s.JQ); ok {
			all = append(all, holds(rc.looksAt(&p)))
		}
	}
	all = append(all, rc.looks(s)...)
	if len(all) == 0 && rc.c.log.Len() == before {
		rc.c.log.Add(s.At, "a condition names something")
	}
	if rc.c.log.Len() > before {
		return nil
	}
	return allOf(all)
}

// combined compiles and, or, not, type and op.
func (rc *routeCompiler) combined(s *spec.Condition) (all []condition) {
	if s.And != nil {
		all = append(all, allOf(rc.conditions(s.And)))
	}
	if s.Or != nil {
		all = append(all, anyOf(rc.conditions(s.Or)))
	}
	if s.Not != nil {
		if inner := rc.condition(s.Not); inner != nil {
			all = append(all, not(inner))
		}
	}
	for _, short := range []struct {
		values []spec.Text
		at     *path.Path
		name   string
	}{{s.Type, rc.c.p.typ, "type"}, {s.Op, rc.c.p.op, "op"}} {
		if short.values == nil {
			continue
		}
		if short.at == nil {
			rc.c.log.Add(first(short.values), "identity does not say where the "+short.name+" stands")
			continue
		}
		values := make([]scalar, len(short.values))
		for i, v := range short.values {
			values[i] = scalar{value: v.Value}
		}
		all = append(all, isOneOf(rc.looksAt(short.at), values))
	}
	return all
}

// looksAt notes whether a condition looks at the employee's entry.
func (rc *routeCompiler) looksAt(p *path.Path) *path.Path {
	if p != nil && slices.Contains([]path.Root{path.Here, path.Item, path.After, path.Before}, p.Root) {
		rc.item = true
	}
	switch {
	case p == nil:
	case p.JQ == nil:
		rc.outside = rc.outside && (p.Root == path.Key || p.Root == path.Header || p.Root == path.Event && len(p.Steps) == 0)
	default:
		reads := &p.JQ.Reads
		rc.outside = rc.outside && reads.Variables != nil && !reads.Whole && len(reads.Tops) == 0 &&
			!slices.ContainsFunc(reads.Variables, func(name string) bool { return name != "$key" && name != "$header" })
	}
	return p
}

func (rc *routeCompiler) conditions(list []spec.Condition) (all []condition) {
	for i := range list {
		if one := rc.condition(&list[i]); one != nil {
			all = append(all, one)
		}
	}
	return all
}

// looks compiles the keys that look at path.
func (rc *routeCompiler) looks(s *spec.Condition) (all []condition) {
	given := s.Exists.Given() || s.Equals.Given() || s.In != nil || s.Prefix.Given() || s.Future.Given() ||
		s.Less.Given() || s.AtMost.Given() || s.Greater.Given() || s.AtLeast.Given()
	if given != s.Path.Given() {
		rc.c.log.Add(s.At, "path, and what it is compared with, belong together")
		return nil
	}
	if !given {
		rc.c.noDates(&s.Dates, "future")
		return nil
	}
	p := rc.looksAt(rc.c.optional(s.Path))
	if s.Exists.Given() {
		all = append(all, exists(p, s.Exists.Value))
	}
	if s.Equals.Given() {
		all = append(all, isOneOf(p, scalars([]spec.Scalar{s.Equals})))
	}
	if s.In != nil {
		all = append(all, isOneOf(p, scalars(s.In)))
	}
	if s.Prefix.Given() {
		all = append(all, hasPrefix(p, s.Prefix.Value))
	}
	if s.Future.Given() {
		dates := rc.c.dates(&s.Dates)
		all = append(all, inFuture(p, dates, s.Future.Value))
	} else {
		rc.c.noDates(&s.Dates, "future")
	}
	return append(all, rc.comparisons(s, p)...)
}

func (rc *routeCompiler) comparisons(s *spec.Condition, p *path.Path) (all []condition) {
	for _, one := range []struct {
		limit  spec.Scalar
		wanted []int
	}{{s.Less, []int{-1}}, {s.AtMost, []int{-1, 0}}, {s.Greater, []int{1}}, {s.AtLeast, []int{0, 1}}} {
		if !one.limit.Given() {
			continue
		}
		if _, ok := rational(one.limit.Value); !ok {
			rc.c.log.Add(one.limit.Pos, strconv.Quote(one.limit.Value)+" should be a number")
		}
		all = append(all, compares(p, one.limit.Value, one.wanted...))
	}
	return all
}
