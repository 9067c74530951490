package web

import (
	"cmp"
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

// jobPages are those of jobs of redrives and discards.
type jobPages struct{ *Server }

const (
	maxWaiting = 20  // jobs that wait
	maxJobs    = 100 // that are remembered
	maxResults = 1000
)

var errStopped = errors.New("the pages have stopped")

// A job redrives or discards dead letters. One with a run is in the audit topic, so another process
// can resume it. One without a run redrives a single edited value, which the audit topic must not
// hold.
type job struct {
	ID, Kind string
	Who      ops.Who
	IDs      []string
	Asked    time.Time
	Run      *ops.JobRun
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

// newRecordedJob returns the job of a run.
func newRecordedJob(run *ops.JobRun, now time.Time) *job {
	ids := make([]string, len(run.Items))
	for n, i := range run.Items {
		ids[n] = i.ID
	}
	j := newJob(string(run.Job.Action), run.Who, ids, now)
	j.ID, j.Run, j.Asked = run.Job.ID, run, run.Job.At
	j.run = func(ctx context.Context) error { return run.Execute(ctx, j.report, j.notify) }
	return j
}

// notify keeps why no result arrives.
func (j *job) notify(n ops.NoResults) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.notice = texts.NoResults(n)
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
	if a.all = append(a.all, j); len(a.all) > maxJobs { // one that waits or runs is needed to cancel it
		if ended := slices.IndexFunc(a.all, (*job).hasEnded); ended >= 0 {
			a.all = slices.Delete(a.all, ended, ended+1)
		}
	}
	return true
}

// hasRoom reports whether another job may wait.
func (a *jobs) hasRoom(kind string) bool { return len(a.queues[kind]) < maxWaiting }

// find returns the latest job with an id: one that was resumed here is there more than once.
func (a *jobs) find(id string) *job {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, j := range slices.Backward(a.all) {
		if j.ID == id {
			return j
		}
	}
	return nil
}

// latest returns the latest jobs of this process that are not in the audit topic, the latest first.
func (a *jobs) unrecorded() (all []*job) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, j := range slices.Backward(a.all) {
		if j.Run == nil && len(all) < jobsShown {
			all = append(all, j)
		}
	}
	return all
}

const jobsShown = 5

// work runs the jobs of a queue until the context ends. Those that wait then are left to another
// process.
func (a *jobs) work(ctx context.Context, queue chan *job) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case j := <-queue:
			j.carryOut(ctx)
		}
	}
	for {
		select {
		case j := <-queue:
			if j.Run != nil {
				j.Run.Leave(ctx)
			}
		default:
			return
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
	if canceled {
		cancel(ops.ErrJobCanceled) // the run records that it has ended
	}
	err := j.run(ctx)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil && ctx.Err() != nil && j.Run == nil {
		err = context.Cause(ctx)
	}
	j.cancel, j.err, j.ended = nil, err, time.Now()
}

func (j *job) hasEnded() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.ended.IsZero()
}

// stop cancels a job that runs or waits.
func (j *job) stop() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.canceled = true
	if j.cancel != nil {
		j.cancel(ops.ErrJobCanceled)
	}
}

// editedJob returns what redrives one edited value.
func (s jobPages) editedJob(j *job, request ops.RedriveRequest) func(context.Context) error {
	return func(ctx context.Context) error {
		run, err := s.live.NewRedrive(ctx, request)
		if err == nil {
			_, err = run.Run(ctx, j.report, j.notify)
		}
		return err
	}
}

// A jobView is what the pages show of a job.
type jobView struct {
	ID, Kind, Actor, Note string
	State                 string // of an ops.JobState, or waiting, or canceled
	Total, Done           int
	Counts                []resultCount
	Results               []ops.ItemResult // the latest first
	Notice, Problem       string
	Asked, RunAt          time.Time
	RunBy                 string // who resumed it; empty: it was not resumed
	New                   int    // dead letters that have failed since it began
	Outstanding           int
	Here                  bool // this process has its results
	Active                bool // it waits or runs in this process
	Left                  int  // of one that was interrupted: without a request yet
}

type resultCount struct {
	Result string
	Count  int
}

// view returns what the pages show of a job of this process.
func (j *job) view() jobView {
	j.mu.Lock()
	defer j.mu.Unlock()
	v := jobView{
		ID: j.ID, Kind: j.Kind, Actor: j.Who.Actor, Note: j.Who.Note, Total: len(j.IDs), Done: j.done, Asked: j.Asked, Here: true,
		Notice: j.notice, Results: slices.Clone(j.results[max(len(j.results)-maxResults, 0):]), Outstanding: len(j.IDs) - j.done,
	}
	slices.Reverse(v.Results)
	for result, n := range j.counts {
		v.Counts = append(v.Counts, resultCount{result, n})
	}
	slices.SortFunc(v.Counts, func(a, b resultCount) int { return strings.Compare(a.Result, b.Result) })
	switch {
	case j.started.IsZero():
		v.State = jobWaiting
	case j.ended.IsZero():
		v.State = ops.JobRunning
	case errors.Is(j.err, ops.ErrJobCanceled):
		v.State = jobCanceled
	case j.err != nil:
		v.State, v.Problem = ops.JobFailed, j.err.Error()
	default:
		v.State = ops.JobDone
	}
	v.Active = j.ended.IsZero()
	return v
}

// The states of a job that only its process knows.
const (
	jobWaiting  = "waiting"
	jobCanceled = "canceled"
)

// recordedView returns what the audit topic has of a job.
func recordedView(s ops.JobState) jobView {
	v := jobView{
		ID: s.ID, Kind: string(s.Action), Actor: s.Actor, Note: s.Note, State: s.State, Total: s.Total, Asked: s.At, Problem: s.Reason,
	}
	if s.Run > 1 {
		v.RunBy, v.RunAt = s.RunBy, s.RunAt
	}
	if s.Ended == dlq.ResultFailed && s.Reason == ops.ErrJobCanceled.Error() {
		v.State, v.Problem = jobCanceled, ""
	}
	return v
}

// IsInterrupted reports whether an operator can resume the job.
func (v jobView) IsInterrupted() bool { return v.State == ops.JobInterrupted }

// CanEnd reports whether an operator can end the job that no process runs.
func (v jobView) CanEnd() bool { return v.IsInterrupted() || v.State == ops.JobIncomplete }

// Tone is the class of the state.
func (v jobView) Tone() string {
	switch v.State {
	case ops.JobDone:
		return "ok"
	case ops.JobFailed, ops.JobInterrupted, ops.JobIncomplete:
		return "bad"
	}
	return "warn"
}

// jobList returns the latest jobs, the latest first, and how many were interrupted.
func (s jobPages) jobList() (views []jobView, interrupted int) {
	for _, j := range slices.Backward(s.live.Jobs()) {
		v := recordedView(j)
		if own := s.jobs.find(j.ID); own != nil {
			if ran := own.view(); ran.Active {
				v.State = ran.State
			}
		}
		if v.CanEnd() {
			interrupted++
		}
		if len(views) < jobsShown || v.CanEnd() {
			views = append(views, v)
		}
	}
	for _, j := range s.jobs.unrecorded() {
		views = append(views, j.view())
	}
	slices.SortStableFunc(views, func(a, b jobView) int { return b.Asked.Compare(a.Asked) })
	return views, interrupted
}

const jobRefresh = 2 // seconds

func (s jobPages) job(ctx context.Context, v *visit) (reply, error) {
	view, items, err := s.viewOf(ctx, v.r.PathValue("id"))
	if err != nil {
		return reply{}, err
	}
	a := reply{page: "job", title: text("job.title." + view.Kind)}
	if view.Active || view.State == ops.JobRunning || view.State == ops.JobUnknown {
		a.refresh = jobRefresh
	}
	catalog := s.live.Catalog()
	_, failedSince := catalog.Find(dlq.Query{States: []dlq.State{dlq.StateOpen}, Since: view.Asked}, 0, 1)
	if len(items) > 0 {
		_, again := catalog.Find(dlq.Query{IDs: items, States: []dlq.State{dlq.StateOpen}, Since: view.Asked}, 0, 1)
		view.New = failedSince - again
	}
	a.data = view
	return a, nil
}

// viewOf returns a job and the ids of its dead letters: with its results, if this process has them.
func (s jobPages) viewOf(ctx context.Context, id string) (view jobView, ids []string, err error) {
	own := s.jobs.find(id)
	if own != nil {
		if view = own.view(); view.Active || own.Run == nil {
			return view, own.IDs, nil
		}
		ids = own.IDs
	}
	state, err := s.live.Job(ctx, id)
	if err != nil && own != nil {
		return view, ids, nil // it has not been read yet
	}
	if err != nil {
		return view, nil, errNotFound
	}
	recorded := recordedView(state)
	if own != nil {
		// What the audit topic says of the job counts. This process may have lost it to another one.
		view.State, view.RunBy, view.RunAt = recorded.State, recorded.RunBy, recorded.RunAt
		view.Problem = cmp.Or(view.Problem, recorded.Problem)
	} else {
		view = recorded
	}
	if view.IsInterrupted() {
		if view.Left, ids, err = s.live.JobLeft(ctx, state.Job); err != nil {
			view.Notice = err.Error()
		}
	}
	return view, ids, nil
}

func (s jobPages) cancelJob(_ context.Context, v *visit) (reply, error) {
	j := s.jobs.find(v.r.PathValue("id"))
	if j == nil {
		return reply{}, errNotFound
	}
	j.stop()
	return reply{to: "/jobs/" + j.ID, notice: text("job.canceling")}, nil
}

// resumeJob begins another run of a job that was interrupted.
func (s jobPages) resumeJob(ctx context.Context, v *visit) (reply, error) {
	id := v.r.PathValue("id")
	if j := s.jobs.find(id); j != nil && j.view().Active {
		return reply{}, ops.ErrJobRuns
	}
	if !s.jobs.hasRoom(kindRedrive) || !s.jobs.hasRoom(kindDiscard) {
		return reply{}, &ops.RefusedError{Reason: text("job.full")}
	}
	run, err := s.live.ResumeJob(ctx, id, v.who())
	if err != nil {
		return reply{}, err
	}
	return s.start(ctx, run, v.now)
}

// start has a recorded job run.
func (s jobPages) start(ctx context.Context, run *ops.JobRun, now time.Time) (reply, error) {
	j := newRecordedJob(run, now)
	if !s.jobs.add(j) {
		run.Leave(ctx)
		return reply{}, &ops.RefusedError{Reason: text("job.full")}
	}
	return reply{to: "/jobs/" + j.ID}, nil
}

// endJob ends a job that was interrupted.
func (s jobPages) endJob(ctx context.Context, v *visit) (reply, error) {
	id := v.r.PathValue("id")
	if err := s.live.EndJob(ctx, id, v.who()); err != nil {
		return reply{}, err
	}
	return reply{to: "/jobs/" + id, notice: text("job.ended")}, nil
}
