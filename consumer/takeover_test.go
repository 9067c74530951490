package consumer_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/crmapi/crmapitest"
)

// A stranger is a program of somebody else's that uses the service's group by mistake. It commits nothing.
type stranger struct {
	*kgo.Client
	topic string

	mu   sync.Mutex
	held map[int32]bool
}

// join lets a stranger join that knows but one way of assignment.
func (r *rig) join(balancer kgo.GroupBalancer) *stranger {
	r.t.Helper()
	s := &stranger{topic: r.topic, held: make(map[int32]bool)}
	set := func(held bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) { s.set(changed[s.topic], held) }
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.broker.Addrs()...), kgo.ConsumerGroup(r.group), kgo.ConsumeTopics(r.topic),
		kgo.Balancers(balancer), kgo.DisableAutoCommit(), kgo.SessionTimeout(6*time.Second),
		kgo.OnPartitionsAssigned(set(true)), kgo.OnPartitionsRevoked(set(false)), kgo.OnPartitionsLost(set(false)))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(cl.Close)
	s.Client = cl
	return s
}

func (s *stranger) set(partitions []int32, held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range partitions {
		s.held[p] = held
	}
}

func (s *stranger) has(partition int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[partition]
}

// With a way of assignment that the service does not know, the stranger keeps it out of the group.
func TestAGroupInTheHandsOfAnotherProgram(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.produce(r.change(1, fields{"position": "x"}))
	other := r.join(kgo.CooperativeStickyBalancer())
	r.eventually("the stranger to have all", func() bool { return other.has(0) && other.has(1) })
	inst := r.start()
	r.eventually("the pause", func() bool { return r.paused(inst, "kafka") })
	r.wantCalls(0)
	if a, b := r.committed(0), r.committed(1); a > 0 || b > 0 {
		t.Errorf("committed up to %d and %d without a place in the group", a, b)
	}
	other.Close()
	r.settled()
	r.wantField(1, "position", `"x"`)
	r.wantCalls(1)
	if r.paused(inst, "kafka") {
		t.Error("the pause goes on")
	}
}

// With a way of assignment that both know, the stranger gets partitions. What it does not commit is the service's once it has gone.
func TestPartitionsInTheHandsOfAnotherProgram(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	inst := r.start()
	r.produce(on(0, r.change(1, fields{"position": "x"})), on(1, r.change(2, fields{"position": "x"})))
	r.settled()
	other := r.join(kgo.RoundRobinBalancer())
	owns := func(p int) bool {
		return r.metric(inst, "membersync_lag_records", "topic", r.topic, "partition", strconv.Itoa(p)) >= 0
	}
	var theirs int
	r.eventually("each to have a partition", func() bool {
		theirs = 0
		if other.has(1) {
			theirs = 1
		}
		return other.has(0) != other.has(1) && owns(1-theirs) && !owns(theirs)
	})
	r.produce(on(0, r.change(1, fields{"position": "y"})), on(1, r.change(2, fields{"position": "y"})))
	r.eventually("the service's own partition", func() bool { return r.committed(1-theirs) == 2 })
	if got := r.committed(theirs); got != 1 {
		t.Errorf("partition %d, which is the stranger's, is committed up to %d", theirs, got)
	}
	other.Close()
	r.settled()
	r.wantField(1, "position", `"y"`)
	r.wantField(2, "position", `"y"`)
	r.wantCalls(4)
}

// Kafka stops answering an instance that has joined: it stays ready, since a restart would not help, and says what it waits for.
func TestReadinessNamesKafka(t *testing.T) {
	t.Parallel()
	r := newFakeRig(t, 1, crmapitest.Options{})
	inst := r.start()
	r.produce(r.change(1, fields{"position": "x"}))
	r.settled()
	var away atomic.Bool
	away.Store(true)
	r.broker.Fake().ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.broker.Fake().KeepControl()
		return nil, errors.New("away"), away.Load()
	})
	r.eventually("the pause", func() bool { return r.paused(inst, "kafka") })
	if ok, cause := inst.service.Ready(); !ok || cause != "kafka" {
		t.Errorf("ready %v, cause %q", ok, cause)
	}
	away.Store(false)
	r.eventually("the end of the pause", func() bool { return !r.paused(inst, "kafka") })
	if ok, cause := inst.service.Ready(); !ok || cause != "" {
		t.Errorf("ready %v, cause %q", ok, cause)
	}
}
