package consumer_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// A fetchGate is a transport whose fetches wait while it is locked.
type fetchGate struct {
	kafka.RoundTripper
	mu *sync.RWMutex
}

func (g fetchGate) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	if _, ok := req.(*fetch.Request); ok {
		g.mu.RLock()
		defer g.mu.RUnlock()
	}
	return g.RoundTripper.RoundTrip(ctx, addr, req)
}

// The source topic is deleted and created again between two fetches, and has grown beyond the
// offset to read by then. Without a look at the record below that offset, the records of the new
// topic up to there would be lost without a word.
func TestTopicIsRecreatedBetweenTwoFetches(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]int{"with one record more": 5, "with many more": 40} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			var mu sync.RWMutex
			inst := r.start(func(cfg *consumer.Config, p *consumer.Parts) {
				cfg.Session.Watch = unending // the group does not notice it
				cfg.StartLatest = n == 40
				p.Kafka = &kafka.Client{Addr: p.Kafka.Addr, Transport: fetchGate{p.Kafka.Transport, &mu}}
			})
			r.eventually("the start to be committed", func() bool { return r.kafka.committed(0) == 0 })
			for range 4 {
				r.kafka.produce(r.change(1, fields{"position": "old"}))
			}
			r.settled()
			mu.Lock()
			r.kafka.Recreate(t, r.kafka.topic, 1, nil)
			for i := range n {
				r.kafka.produce(r.change(100+i, fields{"position": fmt.Sprint("new ", i)}))
			}
			mu.Unlock()
			for i := range n {
				r.eventually("the records of the new topic", func() bool { return r.crm.field(100+i, "position") != "" })
			}
			r.settled()
			inst.wantMetric(1, "membersync_gap_records_total")
			inst.stop()
			r.kafka.produce(r.change(1, fields{"position": "while stopped"}))
			r.start(latest)
			r.eventually("what came while no instance ran", func() bool { return r.crm.field(1, "position") == `"while stopped"` })
		})
	}
}
