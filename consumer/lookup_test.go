package consumer_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/mapper"
)

// lookupMapping finds the member's id through a lookup.
const lookupMapping = `version: 1
identity: {event_id: $event.eventId, employee_id: $event.employeeId, open_user_id: {from: $event.employeeId, lookup: members}}
order: {kind: sequence, from: $event.sequence}
states: {before: $event.before, after: $event.after}
lookups: {members: {redis: members}}
fields: {position: position}
`

var errUnavailable = errors.New("sample outage")

// A directory finds all employees except the third. Until it is available, it fails.
type directory struct {
	available atomic.Bool
	asked     atomic.Int32
}

func (d *directory) Find(_ context.Context, refs []mapper.Reference) (map[mapper.Reference]string, error) {
	d.asked.Add(1)
	if !d.available.Load() {
		return nil, errUnavailable
	}
	found := map[mapper.Reference]string{}
	for _, ref := range refs {
		if number, ok := strings.CutPrefix(ref.Key, "E"); ok && !strings.HasSuffix(number, "3") {
			found[ref] = "FSUID_" + number
		}
	}
	return found, nil
}

func (d *directory) install(t *testing.T) change {
	t.Helper()
	mapping, err := mapper.Parse("test", []byte(lookupMapping), mapper.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return func(_ *consumer.Config, p *consumer.Parts) { p.Mapper, p.Lookups = mapping, d }
}

// While a lookup is unavailable, events wait: none is dead-lettered, no offset is committed, and
// calling is paused with the cause of the failure. A shutdown during this time does not hang. Once
// the lookup is available, only the event whose reference is not found is dead-lettered.
func TestEventsWaitForAnUnavailableLookup(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	d := &directory{}
	for i := 1; i <= 4; i++ {
		r.kafka.produce(r.change(i, fields{"position": "Lead"}))
	}
	inst := r.start(d.install(t))
	r.eventually("the lookup", func() bool { return d.asked.Load() >= 2 })
	r.never("a dead letter or a call without the lookup", 300*time.Millisecond, func() bool {
		return len(r.dlq.read())+len(r.crm.Calls()) > 0
	})
	if ok, cause := inst.service.Ready(); !ok || !strings.Contains(cause, "redis") || !inst.paused("redis") {
		t.Errorf("ready %v, %q", ok, cause)
	}
	inst.stop()
	if at := r.kafka.committed(0); at > 0 {
		t.Errorf("committed %d", at)
	}
	again := r.start(d.install(t))
	r.eventually("the pause", func() bool { return again.paused("redis") })
	d.available.Store(true)
	r.settled()
	deadLetters := r.dlq.read()
	if len(deadLetters) != 1 || deadLetters[0].Reason != "unresolved_reference" ||
		!strings.HasSuffix(deadLetters[0].EmployeeID, "3") {
		t.Errorf("dead letters %+v", deadLetters)
	}
	r.crm.wantCalls(3)
}
