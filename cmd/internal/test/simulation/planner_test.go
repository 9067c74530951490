package simulation

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A planner draws what happens in a run, and when.
type planner struct {
	w       *world
	themes  []string
	actions []action
	ending  []func() // run when the faults end, by the goroutine that runs the actions
}

// An action happens at a given time.
type action struct {
	at time.Duration
	do func()
}

func (p *planner) at(at time.Duration, do func()) { p.actions = append(p.actions, action{at, do}) }

// operate plans an operation. It is retried until it succeeds, and the run does not end before
// that.
func (p *planner) operate(at time.Duration, what string, do func(context.Context, *operator) error) {
	p.at(at, func() {
		p.w.busy.Add(1)
		p.w.running.Go(func() {
			defer p.w.busy.Add(-1)
			for err := p.w.operator.once(do); err != nil && !p.w.over.Load(); err = p.w.operator.once(do) {
				p.w.log("operation failed", "what", what, "error", err)
				time.Sleep(time.Second)
			}
			p.w.log("operation done", "what", what)
		})
	})
}

// A theme is the subject of a seed, in addition to the faults of every seed. Most themes have
// kinds, which the tally counts separately.
type theme struct {
	name string
	plan func(*planner, *rand.Rand) // adds actions or changes settings before the start
}

func themes() []theme {
	return []theme{
		{"partitions", (*planner).partitions},
		{"append time", func(p *planner, _ *rand.Rand) { p.w.settings.appendTime = true }},
		{"headers", func(p *planner, r *rand.Rand) { p.w.settings.headers = pick(r, 0.02, 0.1) }},
		{"pauses", (*planner).pauses},
		{"redrives", (*planner).redrives},
		{"replays", (*planner).replays},
		{"storms", (*planner).storms},
		{"recreated", (*planner).recreated},
		{"bombs", (*planner).bombs},
		{"purge", (*planner).purge},
		{"large batches", (*planner).largeBatches},
	}
}

// themeKinds returns the themes and their kinds, as the tally counts them.
func themeKinds() []string {
	kinds := []string{"100 partitions", "very many headers", "topic recreated", "topic missing"}
	for _, t := range themes() {
		kinds = append(kinds, "theme: "+t.name)
	}
	for _, how := range forgeries() {
		kinds = append(kinds, "forged: "+how)
	}
	return slices.Concat(kinds, pauseKinds(), redriveKinds(), bombKinds(), stormKinds(), replayKinds())
}

// drawThemes draws the themes of the seed: none, one, or two. They change its settings and add
// their actions.
func (p *planner) drawThemes() {
	r := p.w.random.roll("themes")
	n := pick(r, 0, 0, 1, 1, 1, 2)
	if name := textFlag("theme"); name != "" {
		p.themes = strings.Split(name, ",")
		n = 0
	}
	all := themes()
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, t := range all[:n] {
		p.themes = append(p.themes, t.name)
	}
	if p.has("recreated") { // offsets would be ambiguous for other themes
		p.themes = []string{"recreated"}
	}
	for _, t := range themes() {
		if p.has(t.name) {
			p.w.tally.fired("theme: " + t.name)
			p.w.log("theme", "name", t.name)
			t.plan(p, p.w.random.roll("theme", t.name))
		}
	}
}

func (p *planner) has(theme string) bool { return slices.Contains(p.themes, theme) }

// plan draws the life of each instance, the faults, and when the records are produced.
func (p *planner) plan() {
	r := p.w.random.roll("plan")
	slots := cmp.Or(p.w.settings.slots, 2+r.IntN(2))
	for slot := range slots {
		p.at(between(r, 0, 5*time.Second), func() { p.w.instances.launch(slot, nil) })
	}
	if p.w.settings.storm.quiet {
		p.records()
		return
	}
	for i := range r.IntN(4) {
		p.at(between(r, 10*time.Second, p.w.horizon), func() { p.w.instances.restart(i % slots) })
	}
	for i := range r.IntN(3) {
		p.at(between(r, 10*time.Second, p.w.horizon), func() {
			if l := p.w.instances.current(i % slots); l != nil {
				p.w.fired("kafka cut", l.n)
				l.host.cut("kafka")
			}
		})
	}
	for range r.IntN(3) {
		at := between(r, 5*time.Second, p.w.horizon)
		p.at(at, func() { p.w.redisProxy.setAway(true) })
		p.at(min(at+between(r, time.Second, lease-2*time.Second), p.w.horizon+20*time.Second), func() { p.w.redisProxy.setAway(false) })
	}
	often := 8
	if p.has("redrives") { // redrives wait for the rebuild
		often = 3
	}
	if loss := p.w.random.roll("loss"); loss.IntN(often) == 0 && !p.has("recreated") {
		p.lose(between(loss, 10*time.Second, p.w.horizon), between(loss, 2*time.Second, 40*time.Second))
	}
	p.kafkaFaults()
	p.records()
}

// kafkaFaults spreads some faults of Kafka over the time of the run.
func (p *planner) kafkaFaults() {
	r := p.w.random.roll("kafka")
	for range r.IntN(7) {
		t, at := pick(r, kafkaFaults()...), between(r, 0, p.w.horizon)
		t.fault.Count = 1 + r.IntN(6)
		p.at(at, func() {
			h := p.w.kafka.fake.Fault(t.fault)
			p.ending = append(p.ending, func() {
				for range h.Hits() {
					p.w.tally.fired("kafka: " + t.name)
				}
				h.Remove()
			})
		})
	}
}

// lose makes Redis lose its state. The operator rebuilds it some time later.
func (p *planner) lose(at time.Duration, rebuildAfter time.Duration) {
	p.at(at, p.w.redisProxy.lose)
	p.operate(at+rebuildAfter, "rebuild", func(ctx context.Context, o *operator) error {
		if err := o.rebuild(ctx); err != nil {
			return err
		}
		p.w.fired("rebuild", 0)
		p.w.redisProxy.rebuilt()
		return nil
	})
}

func (p *planner) records() {
	for batch := range slices.Values(batches(p.w.script.records)) {
		p.at(batch[0].at, func() { p.w.kafka.produce(batch) })
	}
	p.at(p.w.horizon+40*time.Second, p.w.endOfFaults)
}

// batches groups the records by half seconds.
func batches(all []draft) [][]draft {
	var groups [][]draft
	for i, d := range all {
		if i == 0 || d.at/(500*time.Millisecond) != all[i-1].at/(500*time.Millisecond) {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], d)
	}
	return groups
}
