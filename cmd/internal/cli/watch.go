package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"membersync/dlq"
)

// silence is how long no result may come before the command asks why. What it then says has to come within 30 s, on a slow machine too.
const silence = 20 * time.Second

// A watch waits for the results of redrives, as the service reports them in the audit topic. It is safe for concurrent use.
type watch struct {
	run *redriveRun

	mu      sync.Mutex
	results *results
	waiting map[string]int // number by id
	sent    bool           // all are sent
	heard   time.Time      // when the latest result came
	done    chan struct{}  // closed when all are sent and answered
	lost    error          // of the reading
	looked  time.Time      // when it was last asked why none comes
	told    string         // what was said of it
}

func (r *redriveRun) newWatch() *watch {
	return &watch{
		run: r, results: r.in.newResults(r.survey),
		waiting: map[string]int{}, heard: time.Now(), done: make(chan struct{}),
	}
}

// start reads the audit topic until stop, which waits for the reader's end.
func (w *watch) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var reader sync.WaitGroup
	reader.Go(func() {
		err := w.run.tail.Follow(ctx, w.hear)
		w.mu.Lock()
		defer w.mu.Unlock()
		if ctx.Err() == nil {
			w.lost = err
			w.finish()
		}
	})
	return func() {
		cancel(context.Canceled)
		reader.Wait()
	}
}

// expect notes that a redrive is under way.
func (w *watch) expect(id string, number int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 { // nothing was to be heard until now
		w.heard = time.Now()
	}
	w.waiting[id] = number
}

// forget notes that a redrive was not sent.
func (w *watch) forget(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, id)
}

func (w *watch) print(id, result, detail string, good bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.results.print(id, result, detail, good)
}

// hear takes a result.
func (w *watch) hear(a dlq.AuditRecord) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	number, mine := w.waiting[a.Subject]
	if a.Action != dlq.ActionRedriveResult || !mine || a.Detail.Number != number {
		return nil
	}
	delete(w.waiting, a.Subject)
	w.heard, w.told = time.Now(), ""
	good := a.Result != dlq.ResultDeadLettered && a.Result != dlq.ResultRefused
	w.results.print(a.Subject, a.Result, a.Detail.Reason, good)
	if w.sent && len(w.waiting) == 0 {
		w.finish()
	}
	return nil
}

// finish ends the wait. The lock is held.
func (w *watch) finish() {
	select {
	case <-w.done:
	default:
		close(w.done)
	}
}

func (w *watch) outstanding() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.waiting)
}

var errNoService = errors.New("no instance of the service is running")

// await waits until all results are there, the limit (0: none) is over, or for 30 s no result came and no service runs.
func (w *watch) await(ctx context.Context, limit time.Duration) error {
	w.mu.Lock()
	w.sent = true
	if len(w.waiting) == 0 {
		w.finish()
	}
	w.mu.Unlock()
	var over <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		over = timer.C
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-w.done:
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.lost
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			return nil
		case <-tick.C:
		}
		if err := w.check(ctx); err != nil {
			return err
		}
	}
}

// check looks why no result comes for a while: first after that while, then every few seconds, since a service that was killed stays a
// member of its group for up to a minute. An error means that none can come.
func (w *watch) check(ctx context.Context) error {
	w.mu.Lock()
	now := time.Now()
	due := len(w.waiting) > 0 && now.Sub(w.heard) >= w.run.patience() && now.Sub(w.looked) >= w.run.patience()/looksIn
	if due {
		w.looked = now
	}
	w.mu.Unlock()
	if !due {
		return nil
	}
	group, err := w.run.desk.group(ctx)
	if err == nil && len(group.Members) == 0 {
		return errNoService
	}
	why := fmt.Sprintf("no result comes although %s of group %s live, or died less than a minute ago: is calling paused? See /readyz; waiting on, Ctrl-C stops without harm",
		plural(len(group.Members), "member"), group.Group)
	if err != nil {
		why = "no result comes, and the group's members are not known: " + err.Error()
	}
	w.tell(why)
	return nil
}

// tell says something once.
func (w *watch) tell(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if why != w.told {
		w.told = why
		w.run.in.complain(why)
	}
}

// looksIn is how many looks there are in the time without a result that leads to the first.
const looksIn = 5

func (r *redriveRun) patience() time.Duration {
	if r.in.silence > 0 {
		return r.in.silence
	}
	return silence
}
