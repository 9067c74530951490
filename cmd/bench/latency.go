package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// A sending is one event that was produced.
type sending struct {
	member int
	n      int // its sequence, and the number in its value
	at     time.Time
}

// A pacer produces single events without waiting for the previous acknowledgement.
type pacer struct {
	job  *testbed.Job
	sent []sending

	group  sync.WaitGroup
	mu     sync.Mutex
	faults []error
}

func (p *pacer) send(ctx context.Context, n, member int) {
	p.sent = append(p.sent, sending{member: member, n: n, at: time.Now()})
	e := testbed.Event{Employee: member, Sequence: int64(n), Before: "{}", After: fmt.Sprintf(`{"position":%q}`, position(n))}
	p.group.Go(func() {
		if err := p.job.Produce(ctx, one(e.Record(p.job.Partitions))); err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.faults = append(p.faults, err)
		}
	})
}

// keepSending sends events of the employees in turn, at a rate, until the context ends. The end of
// the context is not an error.
func (p *pacer) keepSending(ctx context.Context, rate, employees int) error {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return p.wait()
		}
		p.send(context.WithoutCancel(ctx), n, n%employees+1)
	}
}

func (p *pacer) wait() error {
	p.group.Wait()
	return errors.Join(p.faults...)
}

func one(r testbed.Record) iter.Seq[testbed.Record] { return slices.Values([]testbed.Record{r}) }

// An effect is a value that reached the CRM.
type effect struct {
	n  int
	at time.Time
}

// latenciesOf returns how long each event took, except those of one member, and how many have not
// reached the CRM. A newer value of the member counts as well: the event was folded into it.
func latenciesOf(sent []sending, calls []crmapitest.Seen, except int) (latencies []time.Duration, missing int, err error) {
	effects, err := effectsOf(calls)
	if err != nil {
		return nil, 0, err
	}
	for _, s := range sent {
		if s.member == except {
			continue
		}
		at := firstFrom(effects[testbed.OpenUserID(s.member)], s.n)
		if at.IsZero() {
			missing++
			continue
		}
		latencies = append(latencies, at.Sub(s.at))
	}
	return latencies, missing, nil
}

// effectsOf sorts the calls that took effect by member and time.
func effectsOf(calls []crmapitest.Seen) (map[string][]effect, error) {
	effects := make(map[string][]effect)
	for _, call := range calls {
		if call.Outcome != crmapitest.OutcomeSuccess {
			continue
		}
		n, err := valueOf(call)
		if err != nil {
			return nil, err
		}
		effects[call.OpenUserID] = append(effects[call.OpenUserID], effect{n, call.Finished})
	}
	for _, e := range effects {
		slices.SortFunc(e, func(a, b effect) int { return a.at.Compare(b.at) })
	}
	return effects, nil
}

// valueOf returns the number in the value that a call sent.
func valueOf(call crmapitest.Seen) (n int, err error) {
	var user struct {
		Position string `json:"position"`
	}
	if err := json.Unmarshal(call.User, &user); err != nil {
		return 0, err
	}
	if _, err := fmt.Sscanf(user.Position, "Position %d", &n); err != nil {
		return 0, fmt.Errorf("call %d: %w", call.N, err)
	}
	return n, nil
}

// firstFrom returns when the value n or a newer one reached the CRM, or the zero time.
func firstFrom(effects []effect, n int) time.Time {
	i := slices.IndexFunc(effects, func(e effect) bool { return cmp.Compare(e.n, n) >= 0 })
	if i < 0 {
		return time.Time{}
	}
	return effects[i].at
}
