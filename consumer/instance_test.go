package consumer_test

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// An instance is one running service.
type instance struct {
	rig      *rig
	service  *consumer.Service
	registry *prometheus.Registry
	cancel   context.CancelFunc
	stop     func() // returns when Run has returned; later calls do nothing
}

// waitReady waits until the instance is ready: it is a member of the group.
func (i *instance) waitReady() {
	i.rig.t.Helper()
	i.rig.eventually("an instance to be ready", func() bool { ok, _ := i.service.Ready(); return ok })
}

// wantReady checks that the instance is ready, and the cause that readiness names; empty: none.
func (i *instance) wantReady(want string) {
	i.rig.t.Helper()
	if ok, cause := i.service.Ready(); !ok || cause != want {
		i.rig.t.Errorf("ready %v, cause %q, want the cause %q", ok, cause, want)
	}
}

// metric returns the value of a counter or gauge; -1 if it does not exist. The labels are names and
// values in turn.
func (i *instance) metric(name string, labels ...string) float64 {
	i.rig.t.Helper()
	families, err := i.registry.Gather()
	if err != nil {
		i.rig.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			if f.GetName() == name && hasAll(has, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

func hasAll(has map[string]string, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		if has[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// wantMetric checks the value of a counter or gauge.
func (i *instance) wantMetric(want float64, name string, labels ...string) {
	i.rig.t.Helper()
	if got := i.metric(name, labels...); got != want {
		i.rig.t.Errorf("%s %v is %v, want %v", name, labels, got, want)
	}
}

// paused reports whether calls are paused because of a cause.
func (i *instance) paused(cause string) bool {
	return i.metric("membersync_paused", "cause", cause) == 1
}

// isLost reports whether the state in Redis counts as lost.
func (i *instance) isLost() bool { return i.metric("membersync_state_lost") == 1 }

// breaker returns the state of the circuit breaker.
func (i *instance) breaker() string {
	for _, s := range []string{"closed", "open", "half_open"} {
		if i.metric("membersync_breaker_state", "state", s) == 1 {
			return s
		}
	}
	return "in no state"
}

// waiting waits until the instance's lanes contain n events, running or waiting.
func (i *instance) waiting(n int) {
	i.rig.t.Helper()
	i.rig.eventually(fmt.Sprintf("%d events in the lanes", n), func() bool { return i.service.Items() == n })
}

// backlog blocks the only call slot until the messages are in their lanes, so that they are folded.
func (i *instance) backlog(msgs ...message) {
	i.rig.t.Helper()
	i.rig.crm.Block(crmapitest.BeforeEffect)
	blocker := event("blocker", 99, 1, fields{"position": "Blocker"})
	blocker.Partition = msgs[0].Partition
	i.rig.kafka.produce(blocker)
	i.rig.eventually("the slot to be taken", func() bool { return i.rig.crm.Blocked() == 1 })
	i.rig.kafka.produce(msgs...)
	i.waiting(len(msgs) + 1)
	i.rig.crm.Release()
}

// holds waits until an instance holds so many events.
func (i *instance) holds(n int) {
	i.rig.t.Helper()
	i.rig.eventually(fmt.Sprintf("%d held events", n), func() bool {
		return i.metric("membersync_events_held") == float64(n)
	})
}

// heldOrDeadLettered waits until so many events are held by the instance, or dead-lettered.
func (i *instance) heldOrDeadLettered(n int) {
	i.rig.t.Helper()
	i.rig.eventually("all to be held or dead-lettered", func() bool {
		return i.metric("membersync_events_held")+float64(len(i.rig.dlq.read())) == float64(n)
	})
}

// wantHeld checks that nothing is dead-lettered or committed past what is held, and that the
// service is live, and ready without a cause.
func (i *instance) wantHeld(deadLetters, lag int) {
	i.rig.t.Helper()
	i.rig.never("another dead letter", 300*time.Millisecond, func() bool { return len(i.rig.dlq.read()) > deadLetters })
	if got := i.rig.kafka.lag(i.rig.kafka.topic); got < int64(lag) {
		i.rig.t.Errorf("lag %d, want at least %d: held events must not count as finished", got, lag)
	}
	i.wantReady("")
	if ok, why := i.service.Live(); !ok {
		i.rig.t.Errorf("not live in a storm: %s", why)
	}
}

// wantFewJoins checks that the group is not joined more than a few times per second.
func (i *instance) wantFewJoins() {
	i.rig.t.Helper()
	joins := func() float64 { return i.metric("membersync_rebalances_total") }
	before := joins()
	i.rig.never("more than a few joins", 3*time.Second, func() bool { return joins() > before+12 })
}
