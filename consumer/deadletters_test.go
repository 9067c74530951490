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

// whileUnwritable checks a service whose dead letters cannot be written, and what it does after the
// fix.
func whileUnwritable(r *rig, inst *instance, fix func()) {
	r.t.Helper()
	r.crm.Push(crmapitest.Fault{Member: member(3), Code: 10001})
	r.kafka.produce(
		// The first three must be dead-lettered: one without a member, one with an invalid event, and
		// one that the CRM refuses.
		on(0, message{Key: []byte("k"), Value: []byte("{")}),
		on(0, event("bad", 1, 900, fields{"gender": "X"})),
		on(0, event("refused", 3, 901, fields{"position": "x"})),
		on(0, r.change(2, fields{"position": "Same partition"})),
		on(1, r.change(4, fields{"position": "Other partition"})))
	r.eventually("the pause", func() bool { return inst.paused("dlq") })
	r.eventually("the others", func() bool {
		return r.crm.field(2, "position") == `"Same partition"` && r.crm.field(4, "position") == `"Other partition"`
	})
	r.eventually("the other partition's commit", func() bool { return r.kafka.committed(1) == 1 })
	r.never("committed past an unwritten dead letter", 1500*time.Millisecond, func() bool {
		return r.kafka.committed(0) > 0
	})
	if ids := r.outcome.deadLettered(); len(ids) > 0 {
		r.t.Errorf("%v finished without a dead letter", ids)
	}
	fix()
	r.settled()
	r.eventually("the end of the pause", func() bool { return !inst.paused("dlq") })
	rejected := r.dlq.rejections()
	if len(rejected) != 3 || rejected[""] != "malformed" ||
		rejected["bad"] != "invalid_field" || rejected["refused"] != "crm_invalid" {
		r.t.Errorf("dead letters %v", rejected)
	}
	if n := len(r.crm.callsOf(3)); n != 1 {
		r.t.Errorf("%d calls for the refused event, want 1: it is not sent again", n)
	}
}

func TestDeadLettersRefusedByTheBroker(t *testing.T) {
	t.Parallel()
	r := newFakeRig(t, 2)
	fault := r.kafka.Fake().Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: r.kafka.topic + ".dlq", Err: kerr.NotEnoughReplicas, Count: -1,
	})
	whileUnwritable(r, r.start(), fault.Remove)
}

func TestDeadLettersWithoutATopic(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.kafka.Delete(t, r.kafka.topic+".dlq")
	whileUnwritable(r, r.start(), r.kafka.ensureTopics)
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
	r.process(event("bad", 1, 1, fields{"gender": "X"}))
	copies := r.dlq.read()
	if len(copies) != 2 || copies[0].ID() != copies[1].ID() {
		t.Errorf("dead letters %+v, want two copies of one", copies)
	}
	r.wantOutcomes("bad", consumer.DeadLettered)
}

// Members whose dead letters cannot be written occupy no slot while they wait.
func TestUnwrittenDeadLettersOccupyNoSlot(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.kafka.Delete(t, r.kafka.topic+".dlq")
	inst := r.start(oneByOne)
	for i := range 20 { // more than there are slots for dead letters
		r.kafka.produce(message{Value: []byte("{")})
		if i < 4 {
			r.crm.Push(crmapitest.Fault{Member: member(i), Code: 10001})
			r.kafka.produce(r.change(i, fields{"position": "refused"}))
		}
	}
	r.eventually("the pause", func() bool { return inst.paused("dlq") })
	r.kafka.produce(r.change(50, fields{"position": "Good"}))
	r.eventually("the valid event", func() bool { return r.crm.field(50, "position") == `"Good"` })
	if at := r.kafka.committed(0); at > 0 {
		t.Errorf("committed %d", at)
	}
	r.kafka.ensureTopics()
	r.settled()
	r.dlq.wantCount(24)
}
