package consumer_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/produce"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// A hungTopic is a transport whose writes to one topic are not answered until they are released.
type hungTopic struct {
	kafka.RoundTripper
	topic    string
	waiting  *atomic.Int32
	released chan struct{}
}

func (h hungTopic) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	if p, ok := req.(*produce.Request); ok && p.Topics[0].Topic == h.topic {
		h.waiting.Add(1)
		select {
		case <-h.released:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return h.RoundTripper.RoundTrip(ctx, addr, req)
}

// hang returns a client for writes whose topic hangs.
func (k *testKafka) hang(topic string) (client *kafka.Client, waiting *atomic.Int32, release func()) {
	h := hungTopic{k.client().Transport, topic, new(atomic.Int32), make(chan struct{})}
	return &kafka.Client{Addr: kafka.TCP(k.Addrs()...), Transport: h}, h.waiting, func() { close(h.released) }
}

// The leader of the dead-letter topic does not answer, and more dead letters than there are call
// slots wait for it. No other event waits.
func TestHungDeadLetterTopicDelaysNoOtherEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	client, waiting, release := r.kafka.hang(r.kafka.topics().DLQ)
	const poison = 150
	for m := range poison {
		r.crm.Push(crmapitest.Fault{Member: member(1000 + m), Code: crmapitest.CodeNoMember})
	}
	inst := r.start(func(cfg *consumer.Config, p *consumer.Parts) {
		cfg.Concurrency = 4
		p.DeadLetters = dlq.NewWriter(client, r.kafka.topics().DLQ, dlq.WithTimeout(unending))
	})
	for m := range poison {
		r.kafka.produce(on(0, r.change(1000+m, fields{"position": "x"})))
	}
	r.eventually("as many writes as may be in flight", func() bool { return waiting.Load() >= 64 })
	for m := range 20 {
		r.kafka.produce(on(m%2, r.change(m, fields{"position": "Good"})))
	}
	r.eventually("the others", func() bool {
		for m := range 20 {
			if r.crm.field(m, "position") == "" {
				return false
			}
		}
		return true
	})
	if ids := r.outcome.deadLettered(); len(ids) > 0 {
		t.Errorf("%v finished without a dead letter", ids)
	}
	release()
	r.settled()
	if n := len(r.dlq.read()); n != poison {
		t.Errorf("%d dead letters, want %d", n, poison)
	}
	inst.stop()
}

// The leader of the audit topic does not answer, and more results of redrives than there are call
// slots wait for it. No other event waits.
func TestHungAuditTopicDelaysNoOtherEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	const redrives = 10
	first := r.start()
	for m := range redrives {
		r.crm.Push(crmapitest.Fault{Member: member(1000 + m), Code: crmapitest.CodeNoMember, Times: 1})
		r.kafka.produce(r.change(1000+m, fields{"position": "x"}))
	}
	r.settled()
	first.stop()
	for _, item := range r.dlq.items() {
		r.dlq.redrive(item)
	}
	client, waiting, release := r.kafka.hang(r.kafka.topics().Audit)
	r.start(r.dlq.redriving, func(cfg *consumer.Config, p *consumer.Parts) {
		cfg.Concurrency = 2
		p.Audit = dlq.NewAuditor(client, r.kafka.topics().Audit, dlq.WithTimeout(unending))
	})
	r.eventually("the results", func() bool { return waiting.Load() >= redrives })
	r.kafka.produce(r.change(1, fields{"position": "Good"}))
	r.eventually("the other", func() bool { return r.crm.field(1, "position") != "" })
	release()
	r.redrivesSettled()
}
