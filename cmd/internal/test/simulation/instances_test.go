package simulation

import (
	"context"
	"slices"
	"sync"
	"time"

	"membersync/cmd/internal/test/oracle/history"
)

// instances holds all processes, and starts one in the place of each that ends.
type instances struct {
	w *world

	mu    sync.Mutex
	all   []*process
	slots map[int]*process // the running instances of the live service
}

// launch starts an instance of the live service in a slot, or a replay if there is a job.
func (i *instances) launch(slot int, j *job) {
	i.mu.Lock()
	n := len(i.all) + 1
	l := &process{
		w: i.w, n: n, began: time.Now(), slot: slot, job: j, host: newHost(), crashPoint: i.drawCrash(n),
		done: make(chan struct{}), seen: make(map[history.Delivery]*history.Delivery),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	i.all = append(i.all, l)
	if j == nil {
		i.slots[slot] = l
	}
	i.mu.Unlock()
	i.w.log("start", "instance", n, "crashPoint", l.crashPoint, "replay", j != nil)
	listener, err := i.w.kafka.network.Listen("tcp", l.crmAddr())
	i.w.must(err)
	i.w.running.Go(func() { _ = i.w.crmProxy.server.Serve(gate{listener, n}) })
	i.w.running.Go(l.live)
}

// current returns the running instance of a slot, or nil.
func (i *instances) current(slot int) *process {
	i.mu.Lock()
	defer i.mu.Unlock()
	if l := i.slots[slot]; l != nil && !l.isDead() {
		return l
	}
	return nil
}

// restart stops an instance cleanly and starts another one a little later.
func (i *instances) restart(slot int) {
	l := i.current(slot)
	if l == nil {
		return
	}
	i.mu.Lock()
	delete(i.slots, slot)
	i.mu.Unlock()
	i.w.tally.fired("rebalance")
	i.w.running.Go(func() {
		l.stop()
		i.relaunch(l, "restart")
	})
}

// replaceCrashed starts a replacement of a crashed instance a little later.
func (i *instances) replaceCrashed(l *process) {
	i.mu.Lock()
	replace := l.job == nil && i.slots[l.slot] == l
	delete(i.slots, l.slot)
	i.mu.Unlock()
	if replace {
		i.w.running.Go(func() { i.relaunch(l, "replace") })
	}
}

// relaunch starts another instance in the place of l a little later. The label is that of the draw.
func (i *instances) relaunch(l *process, label string) {
	time.Sleep(between(i.w.random.roll(label, l.n), 0, 6*time.Second))
	if !i.w.over.Load() {
		i.launch(l.slot, nil)
	}
}

// stop stops all instances cleanly, and returns all that ever ran.
func (i *instances) stop() []*process {
	i.mu.Lock()
	all := slices.Clone(i.all)
	i.mu.Unlock()
	for _, l := range all {
		l.stop()
	}
	return all
}

// unawareOf returns how many instances started before the first heartbeat that reported a storm;
// storming holds the times of these heartbeats.
func (i *instances) unawareOf(storming []time.Time) (n int) {
	for _, l := range i.all {
		if l.job == nil && (len(storming) == 0 || !l.began.After(storming[0])) {
			n++
		}
	}
	return n
}

// drawCrash draws where instance n crashes.
func (i *instances) drawCrash(n int) crashPoint {
	r := i.w.random.roll("crash", n)
	if r.IntN(8) == 0 || i.w.settings.storm.quiet {
		return crashPoint{}
	}
	rare := []string{"before mark", "after mark", "before renew", "after renew"} // rarely reached, so drawn more often
	if i.w.planner.has("redrives") {
		rare = append(rare, "before audit", "after audit", "before audit", "after audit")
	}
	f := crashPoint{step: pick(r, slices.Concat(steps(), rare)...), nth: 1 + r.IntN(8)}
	switch f.step {
	case "before dead letter", "after dead letter", "before commit", "after commit", "before audit", "after audit":
		f.nth = 1 + r.IntN(3)
	case "before mark", "after mark", "before renew", "after renew",
		"before release", "after release": // most done events are recognized before they have a lease
		f.nth = 1
	}
	return f
}
