package outcome

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// A person is a made-up employee.
type person struct {
	number int
	next   uint64         // the sequence of the next change
	held   map[string]any // the values of the latest changes, by field
}

func newPerson(number int) *person {
	return &person{number: number, next: 1, held: make(map[string]any)}
}

func (p *person) member() string   { return fmt.Sprintf("FSUID_TEST%04d", p.number) }
func (p *person) employee() string { return fmt.Sprintf("E%04d", p.number) }

// careful people never state attachingDepartmentIds in a good change, so that a bad one is never
// superseded: superseded poison is not dead-lettered.
func (p *person) careful() bool { return p.number%5 == 0 }

// An event is the canonical event. Nil members and empty texts are left out.
type event struct {
	EventID    string         `json:"eventId,omitempty"`
	OccurredAt string         `json:"occurredAt"`
	Sequence   any            `json:"sequence"`
	EmployeeID string         `json:"employeeId,omitempty"`
	OpenUserID string         `json:"openUserId,omitempty"`
	Before     map[string]any `json:"before,omitempty"`
	After      map[string]any `json:"after"`
}

// change returns a change of 1 to 3 fields. number is its own number.
func (g *generator) change(p *person, number int) event {
	e := event{
		EventID: fmt.Sprintf("ev-%06d", number), EmployeeID: p.employee(), OpenUserID: p.member(), Sequence: p.next,
		OccurredAt: moment(number).Format(time.RFC3339), Before: make(map[string]any), After: make(map[string]any),
	}
	if number%7 == 0 {
		e.Sequence = strconv.FormatUint(p.next, 10)
	}
	p.next++
	names := slices.Sorted(maps.Keys(fields()))
	g.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		if len(e.After) < 1+number%3 && (name != "attachingDepartmentIds" || !p.careful()) {
			g.set(p, &e, name, g.value(p, name, number))
		}
	}
	g.repeat(p, &e, number)
	return e
}

// set states a field, in most cases with the previous value.
func (g *generator) set(p *person, e *event, name string, value any) {
	if old, ok := p.held[name]; ok && g.rng.IntN(4) != 0 {
		e.Before[name] = old
	}
	e.After[name], p.held[name] = value, value
}

// repeat states a field that has not changed: a date in another format.
func (g *generator) repeat(p *person, e *event, number int) {
	if number%4 != 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(p.held)) {
		if _, stated := e.After[name]; stated {
			continue
		}
		e.Before[name], e.After[name] = p.held[name], p.held[name]
		if ms, ok := p.held[name].(int64); ok && fields()[name] == kindDate {
			e.After[name] = time.UnixMilli(ms).UTC().Format(time.RFC3339Nano)
		}
		return
	}
}

// value returns a value that is unique and that this person has only once, where the field allows
// that.
func (g *generator) value(p *person, name string, number int) any {
	k := fields()[name]
	switch {
	case k == kindGender:
		return []string{"M", "F"}[number%2]
	case k == kindDate && number%2 == 0:
		return moment(number).UnixMilli()
	case k == kindDate:
		return moment(number).Format(time.RFC3339Nano)
	case k == kindInt:
		return int64(number + 1)
	case k == kindInts && number%9 == 0, k == kindClearableText && number%9 == 0:
		return []any{nil, ""}[number%2]
	case k == kindInts:
		return []int64{int64(number + 1), int64(g.spec.Events + number + 1)}
	case name == "leaderId":
		return g.people[number%len(g.people)].member()
	case name == "mobile":
		return fmt.Sprintf("000%04d%05d", p.number, number)
	case name == "position":
		return fmt.Sprintf("Sample \"position\" <%d> & 样例\t%c", number, rune(0x1F600+number%50))
	}
	return fmt.Sprintf("sample-%s-%04d-%d", name, p.number, number)
}

func moment(number int) time.Time {
	return time.Date(2031, 1, 2, 3, 4, 5, int(time.Millisecond)*(number%1000), time.UTC).Add(time.Duration(number) * time.Hour)
}

func (p *person) draft(g *generator, e event) draft {
	return p.raw(g, []byte(spell(e)), e.EventID)
}

// raw returns a record of this person with the given bytes.
func (p *person) raw(g *generator, value []byte, id string) draft {
	number := len(g.made)
	return draft{employee: p.number, Record: Record{
		Partition: p.number % g.spec.Partitions, Key: []byte(p.employee()), Value: value,
		Headers: append([]Header{{"source-id", []byte(id)}}, g.headers(number)...),
	}}
}
