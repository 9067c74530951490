package secured

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/test/testbed/servicetest"
)

// A person is an employee with a member id.
type person struct{ employee, member string }

// The positions that events set; rejectedPosition is for members that the CRM does not know.
const appliedPosition, rejectedPosition = "Sample Clerk", "Sample Lead"

// A source is the HR system: it produces events of made-up people to a topic, each of a new person,
// and knows what the CRM should hold after them.
type source struct {
	*servers
	topic, group string
	events       int               // how many there were
	want         map[string]string // by member: the position that the CRM should hold
}

// produce produces an event that sets the position of a new person.
func (s *source) produce(t *testing.T, position string) person {
	t.Helper()
	s.events++
	p := person{fmt.Sprintf("E%04d", s.events), fmt.Sprintf("FSUID_TEST_%s_%04d", s.group, s.events)}
	if position == appliedPosition {
		s.crm.SetMember(p.member, nil)
		s.want[p.member] = position
	}
	value := fmt.Sprintf(`{"eventId":"ev-%d","sequence":%d,"employeeId":%q,"openUserId":%q,"after":{"position":%q}}`,
		s.events, s.events, p.employee, p.member, position)
	s.kafka.Produce(t, s.topic, kafka.Message{Partition: s.events % 2, Key: []byte(p.employee), Value: []byte(value)})
	return p
}

// event produces an event of a member that the CRM knows.
func (s *source) event(t *testing.T) person { t.Helper(); return s.produce(t, appliedPosition) }

// apply produces an event, and waits for its effect.
func (s *source) apply(t *testing.T) person {
	t.Helper()
	p := s.event(t)
	s.awaitApplied(t, p)
	return p
}

// awaitApplied waits until the CRM holds what was produced for a person.
func (s *source) awaitApplied(t *testing.T, p person) {
	t.Helper()
	servicetest.Eventually(t, "the position of "+p.member, func() bool { return s.position(p.member) == s.want[p.member] })
}

// position is what the CRM holds.
func (s *source) position(member string) string {
	var text string
	_ = json.Unmarshal(s.crm.State(member)["position"], &text)
	return text
}

// reject produces an event that becomes a dead letter. The function that it returns waits for it.
func (s *source) reject(t *testing.T) (p person, await func(*testing.T)) {
	t.Helper()
	before := s.deadLetters(t)
	return s.produce(t, rejectedPosition), func(t *testing.T) {
		t.Helper()
		servicetest.Eventually(t, "a dead letter", func() bool { return s.deadLetters(t) > before })
	}
}

// deadLetter produces an event that becomes a dead letter, and then makes the member known. It
// returns the dead letter's id.
func (s *source) deadLetter(t *testing.T) (p person, id string) {
	t.Helper()
	p, await := s.reject(t)
	await(t)
	s.crm.SetMember(p.member, nil)
	for _, m := range s.kafka.ReadAll(t, s.topic+".dlq") {
		facts := map[string]string{}
		for _, h := range m.Headers {
			facts[h.Key] = string(h.Value)
		}
		if facts["dlq.employee.id"] == p.employee {
			return p, facts["dlq.id"]
		}
	}
	t.Fatalf("no dead letter of %s", p.employee)
	return p, ""
}

func (s *source) deadLetters(t *testing.T) int {
	t.Helper()
	return len(s.kafka.ReadAll(t, s.topic+".dlq"))
}

// settle waits until the group has committed everything, so that nothing is lost, and compares
// the CRM with what it should hold.
func (s *source) settle(t *testing.T) {
	t.Helper()
	for _, name := range []string{s.topic, s.topic + ".redrive"} {
		servicetest.Eventually(t, "the lag of "+name+" to end", func() bool { return s.kafka.Lag(t, s.group, name) == 0 })
	}
	for member, position := range s.want {
		if got := s.position(member); got != position {
			t.Errorf("the CRM has position %q of %s, want %q", got, member, position)
		}
	}
	if n := s.crm.Overlaps(); n > 0 {
		t.Errorf("%d calls of a member at the same time", n)
	}
}
