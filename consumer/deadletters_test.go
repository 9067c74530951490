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

// Dead letters that cannot be written: nothing is committed past their records, and the others go on.

// three kinds of poison: a record without a member, an event, a refusal of the CRM.
func (r *rig) poison() []message {
	r.crm.Push(crmapitest.Fault{Member: member(3), Code: 10001})
	return []message{
		on(0, message{Key: []byte("k"), Value: []byte("{")}),
		on(0, r.event("bad", 1, 900, fields{"gender": "X"})),
		on(0, r.event("refused", 3, 901, fields{"position": "x"})),
	}
}

func (r *rig) whileUnwritable(inst *instance, fix func()) {
	r.t.Helper()
	r.produce(r.poison()...)
	r.produce(on(0, r.change(2, fields{"position": "Same partition"})), on(1, r.change(4, fields{"position": "Other partition"})))
	r.eventually("the pause", func() bool { return r.paused(inst, "dlq") })
	r.eventually("the others", func() bool {
		return r.field(2, "position") == `"Same partition"` && r.field(4, "position") == `"Other partition"`
	})
	r.eventually("the other partition's commit", func() bool { return r.committed(1) == 1 })
	r.never("committed past an unwritten letter", 1500*time.Millisecond, func() bool { return r.committed(0) > 0 })
	if dead := r.outcome.deadLettered(); len(dead) > 0 {
		r.t.Errorf("%v ended without a letter", dead)
	}
	fix()
	r.settled()
	r.eventually("the end of the pause", func() bool { return !r.paused(inst, "dlq") })
	dead := r.rejections()
	if len(dead) != 3 || dead[""] != "malformed" || dead["bad"] != "invalid_field" || dead["refused"] != "crm_invalid" {
		r.t.Errorf("dead letters %v", dead)
	}
	if n := len(r.callsOf(3)); n != 1 {
		r.t.Errorf("%d calls for the refused one: it was refused already", n)
	}
}

func TestLettersRefusedByTheBroker(t *testing.T) {
	t.Parallel()
	r := newFakeRig(t, 2, crmapitest.Options{})
	fault := r.broker.Fake().Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: r.topic + ".dlq", Err: kerr.NotEnoughReplicas, Count: -1,
	})
	r.whileUnwritable(r.start(), fault.Remove)
}

func TestLettersWithoutATopic(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.broker.Delete(t, r.topic+".dlq")
	r.whileUnwritable(r.start(), r.ensureTopics)
}

// The acknowledgement is lost: the letter is written again, and the event ends once.
func TestALetterWhoseAcknowledgementIsLost(t *testing.T) {
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
	letters := r.deadLetters()
	if len(letters) != 2 || letters[0].ID() != letters[1].ID() {
		t.Errorf("dead letters %+v, want two copies of one", letters)
	}
	r.wantOutcomes("bad", consumer.DeadLettered)
}

// Members whose letters cannot be written hold no slot while they wait.
func TestUnwrittenLettersHoldNoSlot(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.broker.Delete(t, r.topic+".dlq")
	inst := r.start(oneByOne)
	for i := range 20 { // more than there are slots for letters
		r.produce(message{Value: []byte("{")})
		if i < 4 {
			r.crm.Push(crmapitest.Fault{Member: member(i), Code: 10001})
			r.produce(r.change(i, fields{"position": "refused"}))
		}
	}
	r.eventually("the pause", func() bool { return r.paused(inst, "dlq") })
	r.produce(r.change(50, fields{"position": "Good"}))
	r.eventually("the good one", func() bool { return r.field(50, "position") == `"Good"` })
	if at := r.committed(0); at > 0 {
		t.Errorf("committed %d", at)
	}
	r.ensureTopics()
	r.settled()
	if n := len(r.deadLetters()); n != 24 {
		t.Errorf("%d dead letters, want 24", n)
	}
}
