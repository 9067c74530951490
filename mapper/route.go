package mapper

import (
	"math/big"
	"slices"
	"strconv"
	"strings"

	"membersync/mapper/internal/path"
)

// A router decides what happens to one employee's event.
type router struct{ m *interpreter }

// A route says what becomes of the events that meet its condition.
type route struct {
	name string
	when condition
	do   action
	item bool // the condition looks at the employee's entry, so there must be one

	outside bool // the condition looks at nothing but the key, headers, and whether there is an event
}

type action uint8

const (
	take action = iota
	ignore
	deadLetter
	needsFetch
)

// actions lists the names of the actions, each at its number.
func actions() []string { return []string{"take", "ignore", "dead_letter", "needs_fetch"} }

// A condition is true or false of an event.
type condition func(m *interpreter) bool

// A scalar is a value to compare with.
type scalar struct {
	value string
	null  bool
}

// equals compares by meaning: a text by its content, a number by its value, and 100 is
// the same as "100".
func (l leaf) equals(s scalar) bool {
	switch {
	case s.null || l.kind == 'n':
		return s.null && l.kind == 'n'
	case l.s == s.value:
		return true
	case !l.isNumber():
		return false
	}
	order, ok := compareNumbers(l.s, s.value)
	return ok && order == 0
}

// compareNumbers compares two JSON numbers exactly.
func compareNumbers(a, b string) (order int, ok bool) {
	x, okX := rational(a)
	y, okY := rational(b)
	if !okX || !okY {
		return 0, false
	}
	return x.Cmp(y), true
}

// rational reads a decimal number of moderate size: an exponent must not make memory.
func rational(s string) (*big.Rat, bool) {
	const most = 100
	_, unsigned := cutSign(s)
	mantissa, exponent, scaled := strings.Cut(strings.ToLower(unsigned), "e")
	whole, fraction, dotted := strings.Cut(mantissa, ".")
	if !isDigits(whole) || dotted && !isDigits(fraction) || len(mantissa) > most {
		return nil, false
	}
	if n, err := strconv.Atoi(exponent); scaled && (err != nil || n > most || n < -most) {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// routed decides by the routes, and by what the envelope itself says, whether the event
// goes on. It reports whether its outcome is settled.
func (rt router) routed() bool {
	for i := range rt.m.p.routes {
		r := &rt.m.p.routes[i]
		if r.item && rt.m.part.fault != nil {
			continue
		}
		if matches := r.when(rt.m); rt.m.broken {
			return true // its condition cannot be known
		} else if !matches {
			continue
		}
		rt.m.notes.explain("route", r.name, actions()[r.do], "")
		return rt.follow(r)
	}
	ignored, problem := rt.news()
	switch {
	case ignored != "":
		rt.ignore(ignored)
		return true
	case problem != "":
		rt.m.fail(InvalidEvent, rt.m.p.op.Place(), rt.m.at(rt.m.p.op).Offset(), problem)
	}
	return false
}

func (rt router) news() (ignored, problem string) {
	switch {
	case rt.m.p.kind == debezium:
		return debeziumNews(rt.m.part.event, rt.m.at(rt.m.p.op))
	case rt.m.p.kind == debeziumFlat && flatDeleted(rt.m.part.item):
		return "deletion", ""
	}
	return "", ""
}

// follow does what the route says. An event that is ignored or dead-lettered by a rule
// need not be complete: what is missing in it is no longer of interest.
func (rt router) follow(r *route) bool {
	switch r.do {
	case ignore:
		rt.ignore(r.name)
	case deadLetter:
		rt.m.fault = &Fault{Reason: Routed, Text: "is dead-lettered by the rule " + strconv.Quote(r.name), Offset: -1}
	case needsFetch:
		rt.m.fault = &Fault{Reason: NeedsFetch, Text: "carries no values, says the rule " + strconv.Quote(r.name), Offset: -1}
	case take:
		return false
	}
	return true
}

func (rt router) ignore(why string) {
	rt.m.event.Ignored, rt.m.fault = why, nil
}

func allOf(conditions []condition) condition {
	return func(m *interpreter) bool {
		return !slices.ContainsFunc(conditions, func(c condition) bool { return !c(m) })
	}
}

func anyOf(conditions []condition) condition {
	return func(m *interpreter) bool {
		return slices.ContainsFunc(conditions, func(c condition) bool { return c(m) })
	}
}

func not(c condition) condition {
	return func(m *interpreter) bool { return !c(m) }
}

func isOneOf(p *path.Path, values []scalar) condition {
	return func(m *interpreter) bool {
		l, ok := m.operand(p)
		return ok && slices.ContainsFunc(values, l.equals)
	}
}

func exists(p *path.Path, wanted bool) condition {
	return func(m *interpreter) bool {
		v := m.at(p)
		return wanted == (!v.Absent() && !v.IsNull())
	}
}

func hasPrefix(p *path.Path, prefix string) condition {
	return func(m *interpreter) bool {
		l, ok := m.operand(p)
		return ok && l.isText() && strings.HasPrefix(l.s, prefix)
	}
}

// compares holds if the value is a number, or a text that is one, and the order between it and
// the limit is one of those wanted.
func compares(p *path.Path, limit string, wanted ...int) condition {
	return func(m *interpreter) bool {
		l, ok := m.operand(p)
		if !ok || !l.isNumber() && !l.isText() {
			return false
		}
		order, ok := compareNumbers(l.s, limit)
		return ok && slices.Contains(wanted, order)
	}
}

// inFuture holds if the value is a time after the record's timestamp.
func inFuture(p *path.Path, dates dateRule, wanted bool) condition {
	return func(m *interpreter) bool {
		l, ok := m.operand(p)
		if !ok || m.w.rec.Time.UnixMilli() < 0 {
			return false
		}
		t, _, problem := dates.read(l)
		return problem == "" && wanted == t.After(m.w.rec.Time)
	}
}
