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

const lookingUp = `version: 1
identity: {event_id: $event.eventId, employee_id: $event.employeeId, open_user_id: {from: $event.employeeId, lookup: members}}
order: {kind: sequence, from: $event.sequence}
states: {before: $event.before, after: $event.after}
lookups: {members: {redis: members}}
fields: {position: position}
`

var errAway = errors.New("sample outage")

// A directory knows all employees but the third, once it is there.
type directory struct {
	there atomic.Bool
	asked atomic.Int32
}

func (d *directory) Find(_ context.Context, refs []mapper.Reference) (map[mapper.Reference]string, error) {
	d.asked.Add(1)
	if !d.there.Load() {
		return nil, errAway
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
	mapping, err := mapper.Parse("test", []byte(lookingUp), mapper.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return func(_ *consumer.Config, p *consumer.Parts) { p.Mapper, p.Lookups = mapping, d }
}

// While a lookup cannot be asked, events wait: none dies, no offset is committed, and calling is paused for that cause. A
// shutdown meanwhile does not hang. What is not there in the end dies alone.
func TestLookupsAreWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	d := &directory{}
	for i := 1; i <= 4; i++ {
		r.produce(r.change(i, fields{"position": "Lead"}))
	}
	inst := r.start(d.install(t))
	r.eventually("the lookup", func() bool { return d.asked.Load() >= 2 })
	r.never("an end without the lookup", 300*time.Millisecond, func() bool { return len(r.deadLetters())+len(r.crm.Calls()) > 0 })
	if ok, cause := inst.service.Ready(); !ok || !strings.Contains(cause, "redis") || r.metric(inst, "membersync_paused", "cause", "redis") != 1 {
		t.Errorf("ready %v, %q", ok, cause)
	}
	inst.stop()
	if at := r.committed(0); at > 0 {
		t.Errorf("committed %d", at)
	}
	again := r.start(d.install(t))
	r.eventually("the lookup", func() bool { return r.metric(again, "membersync_paused", "cause", "redis") == 1 })
	d.there.Store(true)
	r.settled()
	if letters := r.deadLetters(); len(letters) != 1 || letters[0].Reason != "unresolved_reference" || !strings.HasSuffix(letters[0].EmployeeID, "3") {
		t.Errorf("letters %+v", letters)
	}
	r.wantCalls(3)
}
