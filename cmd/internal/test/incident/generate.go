package incident

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"membersync/cmd/internal/test/oracle/outcome"
)

// Missing is the department that the lookup table lacks at first.
const Missing = "new unit"

// Departments returns the ids of the departments by the HR system's code.
func Departments(fixed bool) map[string]int64 {
	ids := map[string]int64{}
	for i := range int64(9) {
		ids[fmt.Sprintf("unit %d", i)] = 100 + i
	}
	if fixed {
		ids[Missing] = 190
	}
	return ids
}

// Table returns the lookup table as a file.
func Table(departments map[string]int64) string {
	var text strings.Builder
	text.WriteString("hr,crm\n")
	for code, id := range departments {
		fmt.Fprintf(&text, "%s,%d\n", code, id)
	}
	return text.String()
}

// A step is one event of an employee.
type step struct {
	fields []string
	dead   bool // it names the missing department too
	held   bool // its fields are in before as well, so it does not state them
	copied bool // a copy of the previous event
	order  int  // from 1; 0: the position
	as     int  // its values are those of this order; 0: its own
	bad    bool // it states a gender that the CRM does not know
}

func live(fields ...string) step { return step{fields: fields} }

// like gives a step the values of the event with an earlier order.
func (s step) like(order int) step {
	s.as = order
	return s
}

func dead(fields ...string) step { return step{fields: fields, dead: true} }

func (s step) at(order int) step {
	s.order = order
	return s
}

// courseSteps returns the possible series of events of an employee. A quarter of the events is
// dead-lettered.
func courseSteps() [][]step {
	return [][]step{
		{live("position", "qq"), dead("weixin"), live("qq"), live("email")},
		{live("position", "qq"), dead("position"), live("position"), live("email")},
		{live("qq"), dead("position"), live("position", "dept"), live("weixin")},
		{live("position"), dead("weixin"), dead("qq"), live("position"), live("email"), live("email"), live("position")},
		{live("email"), live("position").at(3), dead("position").at(2), live("qq")}, // late
		{live("qq"), dead("email"), {copied: true}, live("position"), live("position", "weixin"), live("qq"), {copied: true}},
		{live("qq"), {fields: []string{"position"}, dead: true, held: true}, live("dept"), live("email")},
		{live("dept", "qq"), live("qq"), dead("position", "qq"), live("dept", "qq")},
	}
}

// member returns the openUserId of an employee.
func member(employee int) string { return fmt.Sprintf("FSUID_TEST%05d", employee) }

// Generate generates the given number of events. Those of one employee keep their order and are
// mixed with those of others. The same seed generates the same events.
func Generate(seed uint64, events, partitions int) []outcome.Record {
	rng := rand.New(rand.NewPCG(seed, 0))
	var open [][]outcome.Record // by employee: the remaining records
	total := 0
	for i := 0; total < events; i++ {
		all := recordsOf(i, courseSteps()[i%len(courseSteps())], partitions)
		all = all[:min(len(all), events-total)]
		open, total = append(open, all), total+len(all)
	}
	var story []outcome.Record
	for len(open) > 0 {
		// It draws one of the first twenty, so that the events of an employee are close together.
		i := rng.IntN(min(len(open), 20))
		story = append(story, open[i][0])
		if open[i] = open[i][1:]; len(open[i]) == 0 {
			open = append(open[:i], open[i+1:]...)
		}
	}
	return story
}

// recordsOf returns the records of an employee's steps.
func recordsOf(employee int, steps []step, partitions int) []outcome.Record {
	var all []outcome.Record
	for i, s := range steps {
		if s.copied {
			all = append(all, all[len(all)-1])
			continue
		}
		if s.order == 0 {
			s.order = i + 1
		}
		all = append(all, s.record(employee, partitions))
	}
	return all
}

// A change is an event as the HR system writes it.
type change struct {
	EventID    string            `json:"eventId"`
	Sequence   int               `json:"sequence"`
	EmployeeID string            `json:"employeeId"`
	OpenUserID string            `json:"openUserId"`
	Before     map[string]string `json:"before,omitempty"`
	After      map[string]string `json:"after"`
}

func (s step) record(employee, partitions int) outcome.Record {
	c := change{
		EventID: fmt.Sprintf("ev-%d-%d", employee, s.order), Sequence: s.order, EmployeeID: fmt.Sprintf("E%05d", employee),
		OpenUserID: member(employee), Before: map[string]string{}, After: map[string]string{},
	}
	as := cmp.Or(s.as, s.order)
	for _, f := range s.fields {
		c.After[f] = fmt.Sprintf("Sample %s %d of %d", f, as, employee)
		if f == "dept" {
			c.After[f] = fmt.Sprintf("unit %d", (employee+as)%9)
		}
		if s.held {
			c.Before[f] = c.After[f]
		}
	}
	if s.dead {
		c.After["dept"] = Missing
	}
	if s.bad {
		c.After["gender"] = "X"
	}
	return c.record(employee % partitions)
}

func (c change) record(partition int) outcome.Record {
	value, err := json.Marshal(c)
	if err != nil {
		panic(err) // cannot happen: texts and a number
	}
	return outcome.Record{Partition: partition, Key: []byte(c.EmployeeID), Value: value}
}

// Newer returns one change of each employee that is newer than all events of a story.
func Newer(employees []int, partitions int) []outcome.Record {
	var all []outcome.Record
	for _, i := range employees {
		all = append(all, live("position", "weixin").at(50).record(i, partitions))
	}
	return all
}
