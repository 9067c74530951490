package consumer_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
)

// marksTap is between a service and the marks that it reads.
type marksTap func(ctx context.Context, events int) error

func (m marksTap) install(_ *consumer.Config, p *consumer.Parts) { p.Marks = tappedMarks{p.Marks, m} }

type tappedMarks struct {
	real consumer.Marks
	tap  marksTap
}

func (m tappedMarks) DoneOf(ctx context.Context, events []dedupe.MemberEvent) ([]dedupe.EventGrant, error) {
	if err := m.tap(ctx, len(events)); err != nil {
		return nil, err
	}
	return m.real.DoneOf(ctx, events)
}

// applied lets a service apply 300 events of 20 members in 3 partitions.
func applied(r *rig) {
	r.t.Helper()
	var all []message
	for i := range 300 {
		all = append(all, on(i%3, r.change(i%20, fields{"position": fmt.Sprintf("Level %d", i)})))
	}
	r.kafka.produce(all...)
	inst := r.start()
	r.settled()
	inst.stop()
}

// wantLastOutcome checks the outcome of the latest delivery.
func wantLastOutcome(r *rig, id string, want consumer.Outcome) {
	r.t.Helper()
	got := r.outcome.of(id)
	if len(got) == 0 || got[len(got)-1] != want {
		r.t.Errorf("%s: outcomes %v, want the last one %s", id, got, want)
	}
}

// Events that are done are finished without a lease, in few reads.
func TestDoneEventsTakeNoLease(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, crmapitest.Options{})
	applied(r)
	calls := len(r.crm.Calls())
	r.kafka.group += "-again"
	var acquired, reads, lookedUp atomic.Int32
	leases := tap{at: func(o op, after bool) error {
		if o == opAcquire && !after {
			acquired.Add(1)
		}
		return nil
	}}
	reading := marksTap(func(_ context.Context, events int) error {
		reads.Add(1)
		lookedUp.Add(int32(events)) //nolint:gosec // few
		return nil
	})
	r.start(leases.install, reading.install)
	r.settled()
	if acquired.Load() != 0 || lookedUp.Load() != 300 || reads.Load() > 150 || len(r.crm.Calls()) != calls {
		t.Errorf("%d leases, %d events looked up in %d reads, %d calls; want none, 300 in fewer, none",
			acquired.Load(), lookedUp.Load(), reads.Load(), len(r.crm.Calls())-calls)
	}
	for i := range 300 {
		wantLastOutcome(r, fmt.Sprintf("ev-%d", i+1), consumer.Duplicate)
	}
}

// While marks cannot be read, the lanes find the duplicates.
func TestUnreadableMarksStopNoEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, crmapitest.Options{})
	applied(r)
	r.kafka.group += "-again"
	r.start(marksTap(func(context.Context, int) error { return errInjected }).install)
	r.process(r.change(1, fields{"position": "New"}))
	wantLastOutcome(r, "ev-1", consumer.Duplicate)
	r.wantOutcomes("ev-301", consumer.Applied)
	r.crm.wantField(1, "position", `"New"`)
}

// What is looked up when the partitions are taken away is dropped: its offset is not committed, and
// it is processed by the next owner.
func TestARevokeDropsWhatIsLookedUp(t *testing.T) {
	t.Parallel()
	for _, isDone := range []bool{false, true} {
		t.Run(fmt.Sprintf("done %v", isDone), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 3, crmapitest.Options{})
			if isDone {
				applied(r)
				r.kafka.group += "-again"
			} else {
				r.kafka.produce(r.change(1, fields{"position": "New"}))
			}
			waiting := make(chan struct{}, 100)
			inst := r.start(marksTap(func(ctx context.Context, _ int) error {
				waiting <- struct{}{}
				<-ctx.Done() // Redis answers after the partitions were taken away
				return nil
			}).install)
			<-waiting
			inst.stop()
			for p := range 3 {
				if n := r.kafka.committed(p); n > 0 {
					t.Errorf("partition %d: committed %d", p, n)
				}
			}
			r.start()
			r.settled()
			if !isDone {
				r.wantOutcomes("ev-1", consumer.Applied)
				r.crm.wantCalls(1)
			}
		})
	}
}
