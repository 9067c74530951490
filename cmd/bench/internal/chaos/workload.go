package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"membersync/cmd/internal/test/oracle/outcome"
)

// A Spec says what changes to make up.
type Spec struct {
	Seed       uint64
	Employees  int
	Partitions int
	// Shares of all changes, from 0 to 1: produced behind newer ones of the same employee, produced twice, and never
	// to be applied.
	Late, Twice, Poison float64
	// Delay is how many records later the late and the second copies come, at most.
	Delay int
}

// A Workload makes up changes without end. Every value that it gives a field is unlike all others, so that a value tells
// the change that it is of. The same spec makes the same changes. It is not safe for concurrent use.
type Workload struct {
	spec    Spec
	rng     *rand.Rand
	people  []worker
	made    int                      // changes
	sent    int                      // records
	strayed int                      // late ones and copies so far
	waiting map[int][]outcome.Record // by the number of records before them
	due     []outcome.Record
}

type worker struct {
	sequence uint64
	held     map[string]any
}

// NewWorkload returns a workload at its beginning.
func NewWorkload(spec Spec) *Workload {
	w := &Workload{
		spec: spec, rng: rand.New(rand.NewPCG(spec.Seed, 1)),
		people: make([]worker, spec.Employees), waiting: make(map[int][]outcome.Record),
	}
	for i := range w.people {
		w.people[i].held = make(map[string]any)
	}
	return w
}

// maxRecordBytes is the service's own default: no record comes near.
const maxRecordBytes = 1 << 20

// World is what the CRM has to be set up with.
func (w *Workload) World() outcome.World {
	world := outcome.World{Departments: 1, MaxRecordBytes: maxRecordBytes}
	for i := range w.people {
		world.Members = append(world.Members, Member(i))
	}
	return world
}

// Member is the openUserId of an employee.
func Member(employee int) string { return fmt.Sprintf("FSUID_TEST%04d", employee) }

// Next makes the next record.
func (w *Workload) Next() outcome.Record {
	w.due = append(w.due, w.waiting[w.sent]...)
	delete(w.waiting, w.sent)
	for len(w.due) == 0 {
		w.make()
	}
	r := w.due[0]
	w.due = w.due[1:]
	w.sent++
	return r
}

// Flush returns the records that wait for their time.
func (w *Workload) Flush() []outcome.Record {
	var rest []outcome.Record
	for len(w.due) > 0 || len(w.waiting) > 0 {
		rest = append(rest, w.due...)
		w.due = w.waiting[w.sent]
		delete(w.waiting, w.sent)
		w.sent++
	}
	return rest
}

// make makes a change, which is due now or later.
func (w *Workload) make() {
	employee := w.somebody()
	w.made++
	switch draw := w.rng.Float64(); {
	case draw < w.spec.Poison:
		w.due = append(w.due, w.poison(employee))
	case draw < w.spec.Poison+w.spec.Late:
		w.later(w.change(employee))
	case draw < w.spec.Poison+w.spec.Late+w.spec.Twice:
		r := w.change(employee)
		w.due = append(w.due, r)
		w.later(r)
	default:
		w.due = append(w.due, w.change(employee))
	}
}

// later puts a record off. Every third comes on another partition, and so perhaps to another instance.
func (w *Workload) later(r outcome.Record) {
	w.strayed++
	if w.strayed%3 == 0 {
		r.Partition = (r.Partition + 1 + w.rng.IntN(max(1, w.spec.Partitions-1))) % w.spec.Partitions
	}
	at := w.sent + 1 + w.rng.IntN(max(1, w.spec.Delay))
	w.waiting[at] = append(w.waiting[at], r)
}

// somebody is one of a few in every fifth case: the load is skewed.
func (w *Workload) somebody() int {
	if w.rng.IntN(5) == 0 {
		return w.rng.IntN(max(1, len(w.people)/20))
	}
	return w.rng.IntN(len(w.people))
}

// A change is the canonical event.
type change struct {
	EventID    string         `json:"eventId"`
	Sequence   uint64         `json:"sequence"`
	EmployeeID string         `json:"employeeId"`
	OpenUserID string         `json:"openUserId"`
	Before     map[string]any `json:"before,omitempty"`
	After      map[string]any `json:"after"`
}

// fields are those that take any text.
func fields() []string { return []string{"position", "email", "qq", "weixin", "fullName"} }

// change states one to three fields. In most cases it tells what was there before.
func (w *Workload) change(employee int) outcome.Record {
	p := &w.people[employee]
	p.sequence++
	c := change{
		EventID: fmt.Sprintf("ev-%07d", w.made), Sequence: p.sequence, EmployeeID: fmt.Sprintf("E%04d", employee),
		OpenUserID: Member(employee), Before: make(map[string]any), After: make(map[string]any),
	}
	names := fields()
	for _, i := range w.rng.Perm(len(names))[:1+w.rng.IntN(3)] {
		name := names[i]
		if old, ok := p.held[name]; ok && w.rng.IntN(4) != 0 {
			c.Before[name] = old
		}
		c.After[name] = fmt.Sprintf("sample-%s-%d", name, w.made)
		p.held[name] = c.After[name]
	}
	return w.record(employee, c)
}

// poison is a change that has to be dead-lettered, of every kind in turn: at decoding, at mapping, and by the CRM.
func (w *Workload) poison(employee int) outcome.Record {
	c := change{
		EventID: fmt.Sprintf("ev-%07d", w.made), Sequence: 1, EmployeeID: fmt.Sprintf("E%04d", employee),
		OpenUserID: Member(employee), After: map[string]any{"position": "sample-poison"},
	}
	switch w.made % 3 {
	case 0:
		r := w.record(employee, c)
		r.Value = r.Value[:len(r.Value)/2]
		return r
	case 1:
		c.After["gender"] = "sample"
	default:
		c.OpenUserID = fmt.Sprintf("FSUID_TEST_NOBODY%07d", w.made)
	}
	return w.record(employee, c)
}

func (w *Workload) record(employee int, c change) outcome.Record {
	value, err := json.Marshal(c)
	if err != nil {
		panic("chaos: " + err.Error()) // only values of our own
	}
	return outcome.Record{Partition: employee % w.spec.Partitions, Key: []byte(c.EmployeeID), Value: value}
}
