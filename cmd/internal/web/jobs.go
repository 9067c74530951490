package web

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/dlq"
)

const (
	maxWaiting = 20  // jobs that wait
	maxJobs    = 100 // that are remembered
	maxResults = 1000
)

var (
	errCanceled = errors.New("canceled by an operator")
	errStopped  = errors.New("the pages have stopped")
)

// A job redrives or discards dead letters.
type job struct {
	ID, Kind string
	Who      ops.Who
	IDs      []string
	Asked    time.Time
	run      func(context.Context) error

	mu       sync.Mutex
	started  time.Time
	ended    time.Time
	err      error
	done     int
	counts   map[string]int
	results  []ops.ItemResult // the latest
	notice   string
	cancel   context.CancelCauseFunc // nil: it does not run
	canceled bool
}

func newJob(kind string, who ops.Who, ids []string, now time.Time) *job {
	return &job{ID: strings.ToLower(rand.Text()[:10]), Kind: kind, Who: who, IDs: ids, Asked: now, counts: map[string]int{}}
}

// report adds the result of one dead letter.
func (j *job) report(r ops.ItemResult) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done++
	j.counts[r.Result]++
	j.notice = ""
	if j.results = append(j.results, r); len(j.results) > 2*maxResults {
		j.results = slices.Delete(j.results, 0, len(j.results)-maxResults)
	}
}

// jobs run one after the other: those that redrive, and those that discard. So two redrives of the
// same dead letters see each other's results.
type jobs struct {
	queues map[string]chan *job

	mu  sync.Mutex
	all []*job // the latest last
}

func newJobs() *jobs {
	return &jobs{queues: map[string]chan *job{kindRedrive: make(chan *job, maxWaiting), kindDiscard: make(chan *job, maxWaiting)}}
}

// add has a job run. It reports false if too many wait.
func (a *jobs) add(j *job) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case a.queues[j.Kind] <- j:
	default:
		return false
	}
	if a.all = append(a.all, j); len(a.all) > maxJobs {
		a.all = slices.Delete(a.all, 0, 1)
	}
	return true
}

func (a *jobs) find(id string) *job {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.IndexFunc(a.all, func(j *job) bool { return j.ID == id }); i >= 0 {
		return a.all[i]
	}
	return nil
}

// latest returns the latest jobs, the latest first.
func (a *jobs) latest() []*job {
	const shown = 5
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Clone(a.all[max(len(a.all)-shown, 0):])
	slices.Reverse(all)
	return all
}

// work runs the jobs of a queue until the context ends.
func (a *jobs) work(ctx context.Context, queue <-chan *job) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-queue:
			j.carryOut(ctx)
		}
	}
}

func (j *job) carryOut(ctx context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errStopped)
	j.mu.Lock()
	j.cancel, j.started = cancel, time.Now()
	canceled := j.canceled
	j.mu.Unlock()
	err := errCanceled
	if !canceled {
		err = j.run(ctx)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	j.cancel, j.err, j.ended = nil, err, time.Now()
}

// stop cancels a job that runs or waits.
func (j *job) stop() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.canceled = true
	if j.cancel != nil {
		j.cancel(errCanceled)
	}
}

func (s *Server) redriveJob(j *job, request ops.RedriveRequest) func(context.Context) error {
	return func(ctx context.Context) error {
		run, err := s.live.NewRedrive(ctx, request)
		if err != nil {
			return err
		}
		_, err = run.Run(ctx, j.report, func(n ops.NoResults) {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.notice = texts.NoResults(n)
		})
		s.live.Changed(ctx)
		return err
	}
}

func (s *Server) discardJob(j *job) func(context.Context) error {
	return func(ctx context.Context) error {
		index, err := s.live.Index(ctx, dlq.Query{IDs: j.IDs}, nil)
		if err != nil {
			return err
		}
		err = s.live.Discard(ctx, index, j.Who, false, j.report)
		s.live.Changed(ctx)
		return err
	}
}

// A jobView is what the pages show of a job.
type jobView struct {
	ID, Kind, Actor, Note string
	State                 string // waiting, running, done, failed or canceled
	Total, Done           int
	Counts                []resultCount
	Results               []ops.ItemResult // the latest first
	Notice, Problem       string
	Asked, Ended          time.Time
	New                   int // dead letters that have failed since it began
	Outstanding           int
}

type resultCount struct {
	Result string
	Count  int
}

// View returns what the pages show of a job.
func (j *job) View() jobView {
	j.mu.Lock()
	defer j.mu.Unlock()
	v := jobView{
		ID: j.ID, Kind: j.Kind, Actor: j.Who.Actor, Note: j.Who.Note, Total: len(j.IDs), Done: j.done, Asked: j.Asked, Ended: j.ended,
		Notice: j.notice, Results: slices.Clone(j.results[max(len(j.results)-maxResults, 0):]), Outstanding: len(j.IDs) - j.done,
	}
	slices.Reverse(v.Results)
	for result, n := range j.counts {
		v.Counts = append(v.Counts, resultCount{result, n})
	}
	slices.SortFunc(v.Counts, func(a, b resultCount) int { return strings.Compare(a.Result, b.Result) })
	switch {
	case j.started.IsZero():
		v.State = "waiting"
	case j.ended.IsZero():
		v.State = "running"
	case errors.Is(j.err, errCanceled):
		v.State = "canceled"
	case j.err != nil:
		v.State, v.Problem = "failed", j.err.Error()
	default:
		v.State = "done"
	}
	return v
}

// Active reports whether the job runs or waits.
func (v jobView) Active() bool { return v.Ended.IsZero() }

const jobRefresh = 2 // seconds

func (s *Server) job(_ context.Context, v *visit) (reply, error) {
	j := s.jobs.find(v.r.PathValue("id"))
	if j == nil {
		return reply{}, errNotFound
	}
	view := j.View()
	a := reply{page: "job", title: text("job.title." + view.Kind)}
	if view.Active() {
		a.refresh = jobRefresh
	}
	_, failedSince := s.live.Catalog().Find(dlq.Query{States: []dlq.State{dlq.StateOpen}, Since: view.Asked}, 0, 1)
	_, again := s.live.Catalog().Find(dlq.Query{IDs: j.IDs, States: []dlq.State{dlq.StateOpen}, Since: view.Asked}, 0, 1)
	view.New = failedSince - again
	a.data = view
	return a, nil
}

func (s *Server) cancelJob(_ context.Context, v *visit) (reply, error) {
	j := s.jobs.find(v.r.PathValue("id"))
	if j == nil {
		return reply{}, errNotFound
	}
	j.stop()
	return reply{to: "/jobs/" + j.ID, notice: text("job.canceling")}, nil
}
