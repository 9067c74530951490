package consumer

import (
	"fmt"
	"strings"
	"time"

	"membersync/consumer/source"
	"membersync/consumer/watermark"
)

// Dump describes the account of everything in memory, for tests that wait in vain.
func (s *Service) Dump() string {
	e := s.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	var b strings.Builder
	wake, _ := e.lanes.Wake()
	fmt.Fprintf(&b, "items %d+%d, parked %d (next in %v), ready %v, busy %d+%d+%d, paused by %v, probes %d\n",
		e.lanes.Items(), e.letters.Items(), e.lanes.Parked(), time.Until(wake), e.lanes.Ready(time.Now()),
		e.busy, e.closing, e.burying, e.gate.Causes(), e.probes)
	if g := s.status.current(); g != nil {
		fmt.Fprintf(&b, "pending %d\n", g.pending)
		for _, p := range g.partitions {
			if p.mark != nil {
				fmt.Fprintf(&b, "partition %d: committable %d of %d, committed %d, open %d, revoked %v\n",
					p.id, p.mark.Committable(), p.end, p.committed, p.mark.Open(), p.revoked)
			}
		}
	}
	return b.String()
}

// Items is how many events lie in the lanes, running or waiting.
func (s *Service) Items() int {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	return s.engine.lanes.Items() + s.engine.letters.Items()
}

// GatherFor changes how long the first calls of a generation wait for the backlog at most.
func (s *Service) GatherFor(d time.Duration) { s.engine.gatherFor = d }

// FillFor changes how long calls are few, if the backlog is not in memory by then.
func (s *Service) FillFor(d time.Duration) { s.engine.fillFor = d }

// Redrives is how many events of the redrive topic lie in the lanes.
func (s *Service) Redrives() int {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	return s.engine.redrives
}

// Revoked reports whether the partitions were taken away and what runs is let end.
func (s *Service) Revoked() bool {
	g := s.status.current()
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	return g != nil && g.revoked
}

// An Account is that of one partition, without a service around it.
type Account struct {
	engine    engine
	partition partition
}

// NewAccount begins at an offset.
func NewAccount(offset int64) *Account {
	return &Account{partition: partition{gen: &generation{}, mark: watermark.New(offset)}}
}

// Begin takes a record of so many events in. What it returns finishes one of them, and abandons so many.
func (a *Account) Begin(offset int64, events int) (finish func(), abandon func(n int)) {
	rec := &record{part: &a.partition, src: source.Record{Offset: offset}, open: events, extra: true}
	a.engine.begin(rec)
	finish = func() {
		a.engine.mu.Lock()
		defer a.engine.mu.Unlock()
		a.partition.gen.pending++
		(&event{rec: rec}).finish()
	}
	return finish, func(n int) { a.engine.abandon(rec, n) }
}

// Reopen begins the account anew.
func (a *Account) Reopen(offset int64) { a.engine.reopen(&a.partition, offset) }

// Committable is the offset to commit.
func (a *Account) Committable() int64 { return a.partition.mark.Committable() }
