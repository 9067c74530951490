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

// An otherProgram is a consumer that uses the service's group by mistake. It commits nothing.
type otherProgram struct {
	*kgo.Client
	topic string

	mu    sync.Mutex
	owned map[int32]bool // by partition
}

// join lets another program join the group. It supports only the given assignment strategy.
func (k *testKafka) join(balancer kgo.GroupBalancer, opts ...kgo.Opt) *otherProgram {
	k.t.Helper()
	s := &otherProgram{topic: k.topic, owned: make(map[int32]bool)}
	set := func(owned bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) { s.set(changed[s.topic], owned) }
	}
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(k.Addrs()...), kgo.ConsumerGroup(k.group), kgo.ConsumeTopics(k.topic),
		kgo.Balancers(balancer), kgo.DisableAutoCommit(), kgo.SessionTimeout(6 * time.Second),
		kgo.OnPartitionsAssigned(set(true)), kgo.OnPartitionsRevoked(set(false)), kgo.OnPartitionsLost(set(false)),
	}, opts...)...)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(cl.Close)
	s.Client = cl
	return s
}

func (o *otherProgram) set(partitions []int32, owned bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range partitions {
		o.owned[p] = owned
	}
}

func (o *otherProgram) owns(partition int32) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.owned[partition]
}

// Another program uses an assignment strategy that the service does not support, which keeps the
// service out of the group until the program leaves.
func TestAnotherProgramKeepsTheServiceOutOfItsGroup(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.kafka.produce(r.change(1, fields{"position": "x"}))
	other := r.kafka.join(kgo.CooperativeStickyBalancer())
	r.eventually("the other program to own both partitions", func() bool { return other.owns(0) && other.owns(1) })
	inst := r.start()
	r.eventually("the pause", func() bool { return inst.paused("kafka") })
	r.crm.wantCalls(0)
	if a, b := r.kafka.committed(0), r.kafka.committed(1); a > 0 || b > 0 {
		t.Errorf("committed up to %d and %d without being a member of the group", a, b)
	}
	other.Close()
	r.settled()
	r.crm.wantField(1, "position", `"x"`)
	r.crm.wantCalls(1)
	if inst.paused("kafka") {
		t.Error("the pause has not ended")
	}
}

// Another program uses an assignment strategy that the service supports too, so it gets a
// partition. The service processes what the program has not committed once the program leaves.
func TestTheServiceProcessesWhatAnotherProgramLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	inst := r.start()
	r.process(on(0, r.change(1, fields{"position": "x"})), on(1, r.change(2, fields{"position": "x"})))
	other := r.kafka.join(kgo.RoundRobinBalancer())
	owns := func(p int) bool {
		return inst.metric("membersync_lag_records", "topic", r.kafka.topic, "partition", strconv.Itoa(p)) >= 0
	}
	var theirs int
	r.eventually("each to own a partition", func() bool {
		theirs = 0
		if other.owns(1) {
			theirs = 1
		}
		return other.owns(0) != other.owns(1) && owns(1-theirs) && !owns(theirs)
	})
	r.kafka.produce(on(0, r.change(1, fields{"position": "y"})), on(1, r.change(2, fields{"position": "y"})))
	r.eventually("the commit of the service's partition", func() bool { return r.kafka.committed(1-theirs) == 2 })
	if got := r.kafka.committed(theirs); got != 1 {
		t.Errorf("partition %d, which the other program owns, is committed up to %d, want 1", theirs, got)
	}
	other.Close()
	r.settled()
	r.crm.wantField(1, "position", `"y"`)
	r.crm.wantField(2, "position", `"y"`)
	r.crm.wantCalls(4)
}

// Kafka stops responding to an instance that has joined the group. The instance stays ready, since
// a restart would not help, and readiness names the cause.
func TestReadinessNamesKafka(t *testing.T) {
	t.Parallel()
	r := newFakeRig(t, 1)
	inst := r.start()
	r.process(r.change(1, fields{"position": "x"}))
	var unavailable atomic.Bool
	unavailable.Store(true)
	r.kafka.Fake().ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.kafka.Fake().KeepControl()
		return nil, errors.New("unavailable"), unavailable.Load()
	})
	r.eventually("the pause", func() bool { return inst.paused("kafka") })
	inst.wantReady("kafka")
	unavailable.Store(false)
	r.eventually("the end of the pause", func() bool { return !inst.paused("kafka") })
	inst.wantReady("")
}
