package outcome

import (
	"bytes"
	"fmt"
	"strings"
)

// poisons returns the kinds of poison. Each function creates one from the number of the record and
// its own. Apart from its fault it is a change with values that must not reach the CRM.
func poisons() []func(g *generator, number, n int) draft {
	return []func(g *generator, number, n int) draft{
		badJSON, unknownDepartment, missingEmployee, unknownMember, invalidGender, oversized, nameTwice, emptyValue,
	}
}

func (g *generator) poisoned(d draft, number int) draft {
	d.poison = true
	d.Headers = g.headers(5 * number)
	return d
}

func badJSON(g *generator, number, n int) draft {
	p := g.drawPerson()
	value := []byte(spell(g.change(p, number)))
	if n%2 == 0 {
		return g.poisoned(p.raw(g, value[:len(value)*2/3], "bad"), number)
	}
	return g.poisoned(p.raw(g, append(value, " {}"...), "bad"), number)
}

// unknownDepartment uses another careful person each time: two such changes of one person would
// supersede each other.
func unknownDepartment(g *generator, number, n int) draft {
	p := g.people[(n*5)%len(g.people)]
	e := g.change(p, number)
	g.set(p, &e, "attachingDepartmentIds", []int64{int64(number + 1), g.script.World.Departments + int64(number) + 1})
	return g.poisoned(p.draft(g, e), number)
}

func missingEmployee(g *generator, number, _ int) draft {
	p := g.drawPerson()
	e := g.change(p, number)
	e.EmployeeID = ""
	return g.poisoned(p.draft(g, e), number)
}

// unknownMember creates several changes of one member, and all of them state one field. Where they
// are folded, only the newest is sent, but all are dead letters.
func unknownMember(g *generator, number, n int) draft {
	p := newPerson(len(g.people) + n/3)
	p.next = uint64(n + 1) //nolint:gosec // not negative
	e := g.change(p, number)
	e.After = map[string]any{"position": e.EventID}
	return g.poisoned(p.draft(g, e), number)
}

func invalidGender(g *generator, number, _ int) draft {
	p := g.drawPerson()
	e := g.change(p, number)
	g.set(p, &e, "gender", "sample")
	return g.poisoned(p.draft(g, e), number)
}

func oversized(g *generator, number, _ int) draft {
	p := g.drawPerson()
	e := g.change(p, number)
	g.set(p, &e, "fullName", strings.Repeat("sample ", g.script.World.MaxRecordBytes/7))
	delete(p.held, "fullName") // otherwise the next one's before makes it oversized
	return g.poisoned(p.draft(g, e), number)
}

func nameTwice(g *generator, number, _ int) draft {
	p := g.drawPerson()
	value := []byte(spell(g.change(p, number)))
	twice := fmt.Appendf(nil, `"eventId":"ev-%06d-again","eventId":`, number)
	return g.poisoned(p.raw(g, bytes.Replace(value, []byte(`"eventId":`), twice, 1), "twice"), number)
}

func emptyValue(g *generator, number, _ int) draft {
	return g.poisoned(g.drawPerson().raw(g, []byte{}, "empty"), number)
}
