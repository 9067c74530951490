package consumer_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// slowDeadLetterTopic is a graveyard in which no letter is finished until it is opened.
type slowDeadLetterTopic struct {
	consumer.DeadLetterWriter
	open chan struct{}
}

func (g *slowDeadLetterTopic) Write(ctx context.Context, l dlq.DeadLetter) error {
	select {
	case <-g.open:
		return g.DeadLetterWriter.Write(ctx, l)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *slowDeadLetterTopic) install(_ *consumer.Config, p *consumer.Parts) {
	g.DeadLetterWriter, p.DeadLetters = p.DeadLetters, g
}

// In a storm only a held event's good end proves anything. Here none of the doomed events can be held at once, since all letters are
// being written, and events that are well wait in their lanes.
func TestWhatIsWellEndsNoStorm(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	graves := &slowDeadLetterTopic{open: make(chan struct{})}
	for i := range 60 {
		r.produce(r.change(2*i, fields{"gender": "X"}), r.change(2*i+1, fields{"position": "Title " + strconv.Itoa(i)}))
	}
	inst := r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.StormShare = 0.3 }, graves.install)
	r.eventually("the storm", func() bool { return r.metric(inst, "membersync_paused", "cause", "storm") == 1 })
	r.eventually("all to be read", func() bool { return inst.service.Items() == 120 })
	r.never("the end of the storm", 2*time.Second, func() bool { return r.metric(inst, "membersync_paused", "cause", "storm") == 0 })
	close(graves.open)
	r.storms(inst, 49)
	if n := len(r.crm.Calls()); n > cfgSlots {
		t.Errorf("%d calls in the storm", n)
	}
}
