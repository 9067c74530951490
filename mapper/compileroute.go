package mapper

import (
	"slices"
	"strconv"

	"membersync/mapper/internal/path"
	"membersync/mapper/internal/spec"
)

func (c *compiler) route(r *spec.Route) {
	if r.Name.Given() && r.Name.Value == "" {
		c.log.Add(r.Name.Pos, "a route has a name")
	}
	c.item, c.outside = false, true
	if when := c.condition(&r.When); when != nil {
		do := action(find(actions(), r.Do)) //nolint:gosec // four
		c.p.routes = append(c.p.routes, route{name: r.Name.Value, when: when, do: do, item: c.item, outside: c.outside})
	}
}

// condition compiles a condition: all that it names must hold. It is nil if something is wrong with
// it.
func (c *compiler) condition(s *spec.Condition) condition {
	if !s.At.Given() {
		return nil // the decoder has said so
	}
	before := c.log.Len()
	all := c.combined(s)
	if s.JQ != nil {
		if p, ok := c.program(s.JQ); ok {
			all = append(all, holds(c.looksAt(&p)))
		}
	}
	all = append(all, c.looks(s)...)
	if len(all) == 0 && c.log.Len() == before {
		c.log.Add(s.At, "a condition names something")
	}
	if c.log.Len() > before {
		return nil
	}
	return allOf(all)
}

// combined compiles and, or, not, type and op.
func (c *compiler) combined(s *spec.Condition) (all []condition) {
	if s.And != nil {
		all = append(all, allOf(c.conditions(s.And)))
	}
	if s.Or != nil {
		all = append(all, anyOf(c.conditions(s.Or)))
	}
	if s.Not != nil {
		if inner := c.condition(s.Not); inner != nil {
			all = append(all, not(inner))
		}
	}
	for _, short := range []struct {
		values []spec.Text
		at     *path.Path
		name   string
	}{{s.Type, c.p.typ, "type"}, {s.Op, c.p.op, "op"}} {
		if short.values == nil {
			continue
		}
		if short.at == nil {
			c.log.Add(first(short.values), "identity does not say where the "+short.name+" stands")
			continue
		}
		values := make([]scalar, len(short.values))
		for i, v := range short.values {
			values[i] = scalar{value: v.Value}
		}
		all = append(all, isOneOf(c.looksAt(short.at), values))
	}
	return all
}

// looksAt notes whether a condition looks at the employee's entry.
func (c *compiler) looksAt(p *path.Path) *path.Path {
	if p != nil && slices.Contains([]path.Root{path.Here, path.Item, path.After, path.Before}, p.Root) {
		c.item = true
	}
	switch {
	case p == nil:
	case p.JQ == nil:
		c.outside = c.outside && (p.Root == path.Key || p.Root == path.Header || p.Root == path.Event && len(p.Steps) == 0)
	default:
		reads := &p.JQ.Reads
		c.outside = c.outside && reads.Variables != nil && !reads.Whole && len(reads.Tops) == 0 &&
			!slices.ContainsFunc(reads.Variables, func(name string) bool { return name != "$key" && name != "$header" })
	}
	return p
}

func (c *compiler) conditions(list []spec.Condition) (all []condition) {
	for i := range list {
		if one := c.condition(&list[i]); one != nil {
			all = append(all, one)
		}
	}
	return all
}

// looks compiles the keys that look at path.
func (c *compiler) looks(s *spec.Condition) (all []condition) {
	given := s.Exists.Given() || s.Equals.Given() || s.In != nil || s.Prefix.Given() || s.Future.Given() ||
		s.Less.Given() || s.AtMost.Given() || s.Greater.Given() || s.AtLeast.Given()
	if given != s.Path.Given() {
		c.log.Add(s.At, "path, and what it is compared with, belong together")
		return nil
	}
	if !given {
		c.noDates(&s.Dates, "future")
		return nil
	}
	p := c.looksAt(c.optional(s.Path))
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
		dates := c.dates(&s.Dates)
		all = append(all, inFuture(p, dates, s.Future.Value))
	} else {
		c.noDates(&s.Dates, "future")
	}
	return append(all, c.comparisons(s, p)...)
}

func (c *compiler) comparisons(s *spec.Condition, p *path.Path) (all []condition) {
	for _, one := range []struct {
		limit  spec.Scalar
		wanted []int
	}{{s.Less, []int{-1}}, {s.AtMost, []int{-1, 0}}, {s.Greater, []int{1}}, {s.AtLeast, []int{0, 1}}} {
		if !one.limit.Given() {
			continue
		}
		if _, ok := rational(one.limit.Value); !ok {
			c.log.Add(one.limit.Pos, strconv.Quote(one.limit.Value)+" should be a number")
		}
		all = append(all, compares(p, one.limit.Value, one.wanted...))
	}
	return all
}
