package consumer_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// In these tests, dead letters cannot be written. Nothing is committed past their records, and all
// other events are processed.

// poison returns three records that must be dead-lettered: one without a member, one with an
// invalid event, and one that the CRM refuses.
func (r *rig) poison() []message {
	r.crm.Push(crmapitest.Fault{Member: member(3), Code: 10001})
	return []message{
		on(0, message{Key: []byte("k"), Value: []byte("{")}),
		on(0, r.event("bad", 1, 900, fields{"gender": "X"})),
		on(0, r.event("refused", 3, 901, fields{"position": "x"})),
	}
}

// whileUnwritable checks a service whose dead letters cannot be written, and what it does after the
// fix.
func (r *rig) whileUnwritable(inst *instance, fix func()) {
	r.t.Helper()
	r.produce(r.poison()...)
	r.produce(
		on(0, r.change(2, fields{"position": "Same partition"})),
		on(1, r.change(4, fields{"position": "Other partition"})))
	r.eventually("the pause", func() bool { return r.paused(inst, "dlq") })
	r.eventually("the others", func() bool {
		return r.field(2, "position") == `"Same partition"` && r.field(4, "position") == `"Other partition"`
	})
	r.eventually("the other partition's commit", func() bool { return r.committed(1) == 1 })
	r.never("committed past an unwritten dead letter", 1500*time.Millisecond, func() bool {
		return r.committed(0) > 0
	})
	if ids := r.outcome.deadLettered(); len(ids) > 0 {
		r.t.Errorf("%v finished without a dead letter", ids)
	}
	fix()
	r.settled()
	r.eventually("the end of the pause", func() bool { return !r.paused(inst, "dlq") })
	rejected := r.rejections()
	if len(rejected) != 3 || rejected[""] != "malformed" ||
		rejected["bad"] != "invalid_field" || rejected["refused"] != "crm_invalid" {
		r.t.Errorf("dead letters %v", rejected)
	}
	if n := len(r.callsOf(3)); n != 1 {
		r.t.Errorf("%d calls for the refused event, want 1: it is not sent again", n)
	}
}

func TestDeadLettersRefusedByTheBroker(t *testing.T) {
	t.Parallel()
	r := newFakeRig(t, 2)
	fault := r.broker.Fake().Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: r.topic + ".dlq", Err: kerr.NotEnoughReplicas, Count: -1,
	})
	r.whileUnwritable(r.start(), fault.Remove)
}

func TestDeadLettersWithoutATopic(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.broker.Delete(t, r.topic+".dlq")
	r.whileUnwritable(r.start(), r.ensureTopics)
}

// The acknowledgment of a dead letter is lost. It is written again, and the event finishes once.
func TestDeadLetterWithoutAcknowledgmentIsWrittenAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	first := true
	r.start(tap{at: func(o op, after bool) error {
		if o == opDeadLetter && after && first {
			first = false
			return errInjected
		}
		return nil
	}}.install)
	r.produce(r.event("bad", 1, 1, fields{"gender": "X"}))
	r.settled()
	copies := r.deadLetters()
	if len(copies) != 2 || copies[0].ID() != copies[1].ID() {
		t.Errorf("dead letters %+v, want two copies of one", copies)
	}
	r.wantOutcomes("bad", consumer.DeadLettered)
}

// Members whose dead letters cannot be written occupy no slot while they wait.
func TestUnwrittenDeadLettersOccupyNoSlot(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.broker.Delete(t, r.topic+".dlq")
	inst := r.start(oneByOne)
	for i := range 20 { // more than there are slots for dead letters
		r.produce(message{Value: []byte("{")})
		if i < 4 {
			r.crm.Push(crmapitest.Fault{Member: member(i), Code: 10001})
			r.produce(r.change(i, fields{"position": "refused"}))
		}
	}
	r.eventually("the pause", func() bool { return r.paused(inst, "dlq") })
	r.produce(r.change(50, fields{"position": "Good"}))
	r.eventually("the valid event", func() bool { return r.field(50, "position") == `"Good"` })
	if at := r.committed(0); at > 0 {
		t.Errorf("committed %d", at)
	}
	r.ensureTopics()
	r.settled()
	if n := len(r.deadLetters()); n != 24 {
		t.Errorf("%d dead letters, want 24", n)
	}
}
