package ops

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"membersync/dedupe"
	"membersync/dlq"
)

// quietPeriod is the time without a result after which the reason is looked up. What is found must
// be reported within 30 s, on a slow machine too.
const quietPeriod = 20 * time.Second

// looksIn is how often the reason is looked up in a quiet period after the first time.
const looksIn = 5

// ErrNoInstance is returned when results are outstanding and no instance of the service runs.
var ErrNoInstance = errors.New("no instance of the service is running")

// NoResults says what is known while no result of a redrive arrives.
type NoResults struct {
	Instances int                 // in the group; one that was killed stays in it for up to a minute
	Causes    []dedupe.PauseCause // why they do not call, the oldest of each cause
	Err       error               // why the above is not known
}

// A watch waits for the results of redrives, as the service reports them in the audit topic. It is
// safe for concurrent use.
type watch struct {
	run    *Redrive
	notice func(NoResults)

	mu       sync.Mutex
	onResult func(ItemResult)
	waiting  map[string]int               // number by id
	early    map[dlq.Sent]dlq.AuditRecord // results that were not expected when they arrived
	reported map[dlq.Sent]bool

	// What the audit topic says since the items were read, also of other commands and pages.
	requested map[dlq.Sent]string // by whom, if it was not this run
	discarded map[string]bool     // by id

	sent    bool          // all are sent
	latest  time.Time     // when the latest result arrived
	done    chan struct{} // closed when all are sent and have results
	failure error         // of the reader
	failed  int           // redrives that failed again
	looked  time.Time     // when the reason was last looked up
	noticed string        // the last notice
}

func newWatch(r *Redrive, report func(ItemResult), notice func(NoResults)) *watch {
	return &watch{
		run: r, onResult: report, notice: notice,
		waiting: map[string]int{}, early: map[dlq.Sent]dlq.AuditRecord{}, reported: map[dlq.Sent]bool{}, latest: time.Now(), done: make(chan struct{}),
		requested: map[dlq.Sent]string{}, discarded: map[string]bool{},
	}
}

// start reads the audit topic until stop, which waits for the reader's end.
func (w *watch) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var reader sync.WaitGroup
	reader.Go(func() {
		err := w.run.tail.Follow(ctx, w.take)
		w.mu.Lock()
		defer w.mu.Unlock()
		if ctx.Err() == nil {
			w.failure = err
			w.finishLocked()
		}
	})
	return func() {
		cancel(context.Canceled)
		reader.Wait()
	}
}

// expect notes that a redrive is under way. Its result may have arrived already: another process
// redrives the same dead letter under the same number, which runs once and has one result.
func (w *watch) expect(id string, number int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := dlq.Sent{ID: id, Number: number}
	if w.reported[one] {
		return
	}
	if a, ok := w.early[one]; ok {
		delete(w.waiting, id)
		w.settleLocked(a)
		return
	}
	if len(w.waiting) == 0 { // no result was due until now
		w.latest = time.Now()
	}
	w.waiting[id] = number
}

// hasResult reports whether the result of a redrive has arrived, so that it need not be sent.
func (w *watch) hasResult(id string, number int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.early[dlq.Sent{ID: id, Number: number}]
	return ok
}

// changed returns what others have done with an open or discarded item since it was read: who
// requested the redrive of this number (empty: none was requested), and whether it was discarded.
func (w *watch) changed(i dlq.Item, number int) (by string, discarded bool) {
	if i.State == dlq.StateRedriving {
		return "", false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requested[dlq.Sent{ID: i.ID, Number: number}], i.State != dlq.StateDiscarded && w.discarded[i.ID]
}

// forget notes that a redrive was not sent.
func (w *watch) forget(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, id)
}

func (w *watch) report(r ItemResult) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onResult(r)
}

// take handles an audit record.
func (w *watch) take(a dlq.AuditRecord) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := dlq.Sent{ID: a.Subject, Number: a.Detail.Number}
	number, mine := w.waiting[a.Subject]
	mine = mine && a.Detail.Number == number
	switch {
	case a.Action == dlq.ActionDiscard:
		w.discarded[a.Subject] = true
	case a.Action == dlq.ActionRedrive && !mine && w.requested[one] == "":
		w.requested[one] = a.Actor
	case a.Action != dlq.ActionRedriveResult:
	case mine:
		delete(w.waiting, a.Subject)
		w.settleLocked(a)
	default:
		w.early[one] = a
	}
	return nil
}

// settleLocked reports the result of a redrive that is expected.
func (w *watch) settleLocked(a dlq.AuditRecord) {
	w.reported[dlq.Sent{ID: a.Subject, Number: a.Detail.Number}] = true
	w.latest, w.noticed = time.Now(), ""
	failed := a.Result == dlq.ResultDeadLettered || a.Result == dlq.ResultRefused
	if failed {
		w.failed++
	}
	w.onResult(ItemResult{ID: a.Subject, Result: a.Result, Detail: a.Detail.Reason, Failed: failed})
	if w.sent && len(w.waiting) == 0 {
		w.finishLocked()
	}
}

// finishLocked ends the wait.
func (w *watch) finishLocked() {
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

// await waits until all results have arrived, the timeout (0: none) is over, or no result arrives
// and no instance runs.
func (w *watch) await(ctx context.Context, timeout time.Duration) error {
	w.mu.Lock()
	w.sent = true
	if len(w.waiting) == 0 {
		w.finishLocked()
	}
	w.mu.Unlock()
	err := w.awaitAll(ctx, timeout)
	if errors.Is(err, errTimeout) {
		return nil
	}
	return err
}

// A CanaryError is returned when a canary failed, or had no result in time. The rest was not sent.
type CanaryError struct{ Failed, Outstanding int }

// Error says how many failed.
func (e *CanaryError) Error() string {
	return fmt.Sprintf("the canary is not good: %d failed again, %d have no result; the rest was not sent", e.Failed, e.Outstanding)
}

// awaitCanary waits for the results of what was sent so far, and fails with a [*CanaryError] unless
// all are good.
func (w *watch) awaitCanary(ctx context.Context, timeout time.Duration) error {
	w.mu.Lock()
	w.sent, w.done = true, make(chan struct{})
	if len(w.waiting) == 0 || w.failure != nil {
		w.finishLocked()
	}
	w.mu.Unlock()
	err := w.awaitAll(ctx, timeout)
	if err != nil && !errors.Is(err, errTimeout) {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent, w.done = false, make(chan struct{})
	if w.failed+len(w.waiting) > 0 {
		return &CanaryError{w.failed, len(w.waiting)}
	}
	return nil
}

var errTimeout = errors.New("the time for results is over")

// awaitAll waits until the channel done is closed.
func (w *watch) awaitAll(ctx context.Context, timeout time.Duration) error {
	w.mu.Lock()
	done := w.done
	w.mu.Unlock()
	var over <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		over = timer.C
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.failure
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			return errTimeout
		case <-tick.C:
		}
		if err := w.check(ctx); err != nil {
			return err
		}
	}
}

// check looks up why no result arrives: first after the quiet period, then every few seconds, since
// an instance that was killed stays a member of its group for up to a minute. An error means that
// no result can arrive.
func (w *watch) check(ctx context.Context) error {
	if !w.isDue(time.Now()) {
		return nil
	}
	group, err := w.run.deadLetters.group(ctx)
	if err == nil && len(group.Members) == 0 {
		return ErrNoInstance
	}
	found := NoResults{Instances: len(group.Members), Err: err}
	if err == nil {
		found.Causes, found.Err = w.run.deadLetters.causes(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if key := found.key(); key != w.noticed {
		w.noticed = key
		w.notice(found)
	}
	return nil
}

func (w *watch) isDue(now time.Time) bool {
	quiet := w.run.Quiet
	if quiet == 0 {
		quiet = quietPeriod
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	due := len(w.waiting) > 0 && now.Sub(w.latest) >= quiet && now.Sub(w.looked) >= quiet/looksIn
	if due {
		w.looked = now
	}
	return due
}

// key is the same for findings that need no second notice.
func (n NoResults) key() string {
	if n.Err != nil {
		return "error"
	}
	causes := make([]string, len(n.Causes))
	for i, c := range n.Causes {
		causes[i] = c.Cause
	}
	return "causes " + strings.Join(causes, " ")
}
