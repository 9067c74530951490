package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"

	"membersync/cmd/internal/test/oracle/outcome"
)

// A Spec describes the changes of a workload.
type Spec struct {
	Seed       uint64
	Employees  int
	Partitions int
	// Shares of all changes, from 0 to 1: produced after newer ones of the same employee, produced
	// twice, and poison.
	Late, Twice, Poison float64
	// Delay is by how many records late changes and second copies are delayed, at most.
	Delay int
}

// A Workload generates changes without end. Every field value is unique, so that a value identifies
// its change. The same spec generates the same changes. It is not safe for concurrent use.
type Workload struct {
	spec    Spec
	rng     *rand.Rand
	people  []worker
	made    int                      // changes
	sent    int                      // records
	strayed int                      // delayed changes and copies so far
	waiting map[int][]outcome.Record // by the number of records before them
	due     []outcome.Record
}

type worker struct {
	sequence uint64
	held     map[string]any
}

// NewWorkload returns a workload at its start.
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

// maxRecordBytes is the service's default. All records are much smaller.
const maxRecordBytes = 1 << 20

// World returns the set-up of the CRM.
func (w *Workload) World() outcome.World {
	world := outcome.World{Departments: 1, MaxRecordBytes: maxRecordBytes}
	for i := range w.people {
		world.Members = append(world.Members, Member(i))
	}
	return world
}

// Member returns the openUserId of an employee.
func Member(employee int) string { return fmt.Sprintf("FSUID_TEST%04d", employee) }

// Next returns the next record.
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

// Flush returns the records that are delayed.
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

// make adds a change, which is due now or later.
func (w *Workload) make() {
	employee := w.drawEmployee()
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

// later delays a record. Every third one is sent to another partition, and so perhaps to another
// instance.
func (w *Workload) later(r outcome.Record) {
	w.strayed++
	if w.strayed%3 == 0 {
		r.Partition = (r.Partition + 1 + w.rng.IntN(max(1, w.spec.Partitions-1))) % w.spec.Partitions
	}
	at := w.sent + 1 + w.rng.IntN(max(1, w.spec.Delay))
	w.waiting[at] = append(w.waiting[at], r)
}

// drawEmployee draws one of a few employees in every fifth case, so that the load is skewed.
func (w *Workload) drawEmployee() int {
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

// fields returns the fields that take any text.
func fields() []string { return []string{"position", "email", "qq", "weixin", "fullName"} }

// change states one to three fields. In most cases it has the previous values too.
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

// poison returns a change that must be dead-lettered. It rotates over all kinds: at decoding, at
// mapping, and by the CRM.
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
		c.OpenUserID = fmt.Sprintf("FSUID_TEST_UNKNOWN%07d", w.made)
	}
	return w.record(employee, c)
}

func (w *Workload) record(employee int, c change) outcome.Record {
	value, err := json.Marshal(c)
	if err != nil {
		panic("chaos: " + err.Error()) // cannot happen: only our own values
	}
	return outcome.Record{Partition: employee % w.spec.Partitions, Key: []byte(c.EmployeeID), Value: value}
}
