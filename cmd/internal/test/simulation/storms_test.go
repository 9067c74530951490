package simulation

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"membersync/cmd/internal/test/oracle/history"
	"membersync/consumer"
	"membersync/mapper"
)

func stormKinds() []string {
	return []string{"storm: crm", "storm: mapping", "storm: quiet", "held released", "last held released"}
}

// A storm is a period in which most events are rejected, though they are good.
type storm struct {
	kind     string // "crm", "mapping"; empty: there is none
	from, to time.Duration
	share    float64 // of members
	quiet    bool    // there are no other faults, so that processing can be timed
}

// promptly is the time within which an event is applied when there are no faults.
const promptly = 30 * time.Second

// storms makes a broken mapping or the CRM reject most events until it is corrected.
func (p *planner) storms(r *rand.Rand) {
	s := &p.w.settings.storm
	s.kind, s.share, s.quiet = pick(r, "crm", "mapping"), 0.6+0.4*r.Float64(), r.IntN(3) == 0
	s.from = between(r, 0, 20*time.Second)
	s.to = s.from + between(r, 40*time.Second, p.w.horizon-20*time.Second)
	p.w.settings.events = 300 + r.IntN(200)
	p.w.settings.slots = pick(r, 1, 2)
	p.w.tally.fired("storm: " + s.kind)
	if s.quiet {
		p.w.tally.fired("storm: quiet")
	}
	if r.IntN(4) == 0 {
		p.operate(between(r, s.from+20*time.Second, s.to), "release held", func(ctx context.Context, o *operator) error {
			p.w.fired("held released", 0)
			o.released = append(o.released, time.Now())
			return o.store.ReleaseHeld(ctx)
		})
	}
}

// rejects reports whether the events of a member are rejected now.
func (s storm) rejects(w *world, kind, member string) bool {
	now := w.elapsed()
	return s.kind == kind && s.from <= now && now < s.to && !w.calm.Load() && s.affects(w, member)
}

func (s storm) affects(w *world, member string) bool {
	return s.kind != "" && w.random.chance(s.share, "storm", member)
}

// A stormWatch follows the storms that the instances report in their heartbeats.
type stormWatch struct {
	w        *world
	storming []time.Time // when an instance was in a storm; read after the end of record
}

// releaseHeld releases held events in a storm that cannot end by itself: only bad events are left,
// and no new ones arrive. The operator knows that when their number stays the same for a while.
func (s *stormWatch) releaseHeld() {
	const every, times = 20 * time.Second, 9
	same, last := 0, 0
	for !s.w.over.Load() {
		time.Sleep(every)
		held := s.held()
		if same++; held == 0 || held != last || !s.w.calm.Load() {
			same, last = 0, held
		}
		if same == times {
			same = 0
			s.w.fired("last held released", 0)
			_ = s.w.operator.store.ReleaseHeld(context.Background()) // otherwise the next time
		}
	}
}

// record records when an instance is in a storm.
func (s *stormWatch) record() {
	for !s.w.over.Load() {
		time.Sleep(5 * time.Second)
		beats, _ := s.w.operator.store.Heartbeats(context.Background(), group) // otherwise the next time
		for _, b := range beats {
			if b.Storm || b.Held > 0 {
				s.storming = append(s.storming, time.Now().Add(-b.Age))
			}
		}
	}
}

// held returns how many events the running instances hold.
func (s *stormWatch) held() (n int) {
	beats, err := s.w.operator.store.Heartbeats(context.Background(), group)
	if err != nil {
		return 0
	}
	for _, b := range beats {
		if b.Age < 15*time.Second {
			n += b.Held
		}
	}
	return n
}

// history returns what the oracle must know.
func (s *stormWatch) history() []history.Storm {
	storm := s.w.settings.storm
	if storm.kind == "" {
		return nil
	}
	known := history.Storm{
		From: s.w.begun.Add(storm.from), To: s.w.begun.Add(storm.to), Reason: "crm_invalid", Members: make(map[string]bool),
		Released: s.w.operator.released, Instances: s.w.instances.unawareOf(s.storming),
	}
	if storm.kind == "mapping" {
		known.Reason = "invalid_field"
	}
	if storm.quiet {
		known.Promptly = promptly
	}
	for _, m := range slices.Concat(s.w.script.members, []string{memberOf(9000), memberOf(9001), memberOf(9002)}) {
		known.Members[m] = storm.affects(s.w, m)
	}
	return []history.Storm{known}
}

// A brokenMapping rejects most events during the storm.
type brokenMapping struct {
	w    *world
	real *mapper.Mapping
}

var _ consumer.Mapper = brokenMapping{}

// References implements consumer.Mapper.
func (m brokenMapping) References(rec mapper.Record) []mapper.Reference {
	return m.real.References(rec)
}

// MapWith implements consumer.Mapper.
func (m brokenMapping) MapWith(rec mapper.Record, found map[mapper.Reference]string) []mapper.Result {
	results := m.real.MapWith(rec, found)
	for i, res := range results {
		if res.Fault == nil && res.Event.Ignored == "" && m.w.settings.storm.rejects(m.w, "mapping", res.Event.OpenUserID) {
			results[i].Fault = &mapper.Fault{Reason: mapper.InvalidField, Path: "after", Text: "is not known any more", Offset: -1}
		}
	}
	return results
}
