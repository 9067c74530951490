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

// A slowDeadLetterTopic finishes no write before open is closed.
type slowDeadLetterTopic struct {
	consumer.DeadLetterWriter
	open chan struct{}
}

func (s *slowDeadLetterTopic) Write(ctx context.Context, l dlq.DeadLetter) error {
	select {
	case <-s.open:
		return s.DeadLetterWriter.Write(ctx, l)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *slowDeadLetterTopic) install(_ *consumer.Config, p *consumer.Parts) {
	s.DeadLetterWriter, p.DeadLetters = p.DeadLetters, s
}

// Only the success of a held event can end a storm. Here, no rejected event is held at first, since
// all dead letters are still being written, and valid events wait in their lanes: they must not end
// the storm.
func TestValidEventsDoNotEndAStorm(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	topic := &slowDeadLetterTopic{open: make(chan struct{})}
	for i := range 60 {
		r.produce(r.change(2*i, fields{"gender": "X"}), r.change(2*i+1, fields{"position": "Title " + strconv.Itoa(i)}))
	}
	inst := r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.StormShare = 0.3 }, topic.install)
	r.eventually("the storm", func() bool { return r.metric(inst, "membersync_paused", "cause", "storm") == 1 })
	r.eventually("all events to be decoded", func() bool { return inst.service.Items() == 120 })
	r.never("the storm ended", 2*time.Second, func() bool {
		return r.metric(inst, "membersync_paused", "cause", "storm") == 0
	})
	close(topic.open)
	r.storms(inst, 49)
	if n := len(r.crm.Calls()); n > cfgSlots {
		t.Errorf("%d calls in the storm", n)
	}
}
