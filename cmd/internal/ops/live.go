package ops

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"membersync/dlq"
)

// How often a live view reads, and for how long at most.
const (
	catalogEvery  = 2 * time.Second
	statusEvery   = 5 * time.Second
	statusTimeout = 10 * time.Second
	keepSamples   = int(time.Hour / statusEvery)
)

var errStatusTimeout = errors.New("no answer within 10s")

// A Sample is the state of the service at one moment, for charts.
type Sample struct {
	At       time.Time
	Lag      int64   // records
	Events   float64 // a second, of all instances
	Failures int     // dead letters since the sample before
}

// A Live view keeps what pages show in memory while [Live.Run] runs, so that a page waits neither
// for Kafka nor for Redis. It is safe for concurrent use.
type Live struct {
	*LiveJobs
	known chan struct{} // closed when a status is known

	mu      sync.Mutex
	status  Status
	samples []Sample
	items   int
	readErr error
	errAt   time.Time // since when the topics cannot be read; zero: they can
}

// NewLive returns a live view of the session.
func (s *Session) NewLive() *Live {
	return &Live{LiveJobs: &LiveJobs{Session: s, catalog: s.Control.reader.NewCatalog()}, known: make(chan struct{})}
}

// Catalog returns the items of the dead-letter topic.
func (l *Live) Catalog() *dlq.Catalog { return l.catalog }

// Run reads until the context ends.
func (l *Live) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { every(ctx, catalogEvery, l.readCatalog) })
	all.Go(func() { every(ctx, statusEvery, l.readStatus) })
	all.Wait()
}

// every calls read now and then again after each interval, until the context ends.
func every(ctx context.Context, interval time.Duration, read func(context.Context)) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		read(ctx)
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

func (l *Live) readCatalog(ctx context.Context) {
	err := l.catalog.Refresh(ctx)
	if ctx.Err() != nil {
		return
	}
	l.setReadErr(err)
	l.readJobs(ctx)
}

func (l *Live) setReadErr(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readErr = err; err == nil {
		l.errAt = time.Time{}
	} else if l.errAt.IsZero() {
		l.errAt = time.Now()
	}
}

func (l *Live) readStatus(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, statusTimeout, errStatusTimeout)
	defer cancel()
	st := l.gather(ctx, l)
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	_, items, _ := l.catalog.State()
	l.keep(st, items)
}

// keep replaces the status, unless that was read later: one that was begun before an action may end
// after the one that shows the action.
func (l *Live) keep(st Status, items int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if st.At.Before(l.status.At.Time) {
		return
	}
	sample := Sample{At: st.At.Time}
	if st.Lag != nil {
		sample.Lag = st.Lag.Records
	}
	if len(l.samples) > 0 {
		sample.Failures = max(items-l.items, 0)
	}
	for _, i := range st.Instances {
		sample.Events += i.EventsRate
	}
	if n := len(l.samples); n == 0 || sample.At.Sub(l.samples[n-1].At) > statusEvery/2 {
		l.items = items
		l.samples = append(l.samples[max(n-keepSamples+1, 0):], sample)
	}
	if l.status.At.IsZero() {
		close(l.known)
	}
	l.status = st
}

// Latest returns the latest status. It waits until one is known.
func (l *Live) Latest(ctx context.Context) (Status, error) {
	select {
	case <-l.known:
	case <-ctx.Done():
		return Status{}, context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status, nil
}

// Samples returns the samples since the start, of the last hour at most.
func (l *Live) Samples() []Sample {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.samples)
}

// Err returns why the dead-letter and audit topics cannot be read now, and since when; nil: they
// can.
func (l *Live) Err() (since time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errAt, l.readErr
}

// Changed reads at once what an action may have changed.
func (l *Live) Changed(ctx context.Context) {
	l.readCatalog(ctx)
	l.readStatus(ctx)
}

// Show is [DeadLetters.Show] without a scan of the topics.
func (l *Live) Show(ctx context.Context, id string, reveal bool, who Who) (Shown, error) {
	h, err := l.catalog.History(ctx, id)
	if err != nil {
		return Shown{}, err
	}
	return l.showHistory(ctx, h, reveal, who)
}

// Known returns what is known of a dead letter without reading the topics: its facts, without its
// payload and history. It fails with [dlq.ErrNoItem].
func (l *Live) Known(id string) (Shown, error) {
	items, _ := l.catalog.Find(dlq.Query{IDs: []string{id}}, 0, 1)
	if len(items) == 0 {
		return Shown{}, dlq.ErrNoItem
	}
	i := items[0]
	v := DeadLetterView{DeadLetter: NewDeadLetter(i), DLQ: Place{i.Place.Partition, i.Place.Offset}, Occurrences: i.Occurrences}
	if d := i.DeadLetter; !d.Whole {
		v.Index, v.Count = &d.Index, &d.Count
	}
	return Shown{DeadLetterView: v}, nil
}

// Replays is [Replayer.Replays] without a scan of the audit topic.
func (l *Live) Replays(ctx context.Context) ([]ReplayState, error) {
	return l.replaysOf(ctx, func(show func(dlq.AuditRecord)) error {
		l.catalog.Audit(0, func(a dlq.AuditRecord) bool {
			show(a)
			return false
		})
		return nil
	})
}

// Actions returns the latest audit records that a query selects, the latest first. Of the records
// about single dead letters and of all others, the latest 10,000 are known.
func (l *Live) Actions(q AuditQuery) []dlq.AuditRecord {
	records := l.catalog.Audit(q.Limit, q.matches)
	slices.Reverse(records)
	return records
}
