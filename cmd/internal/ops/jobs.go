package ops

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"membersync/dedupe"
	"membersync/dlq"
)

// The states of a bulk job.
const (
	JobRunning     = "running"     // a process runs it
	JobInterrupted = "interrupted" // its process has ended before it did: it can be resumed
	JobIncomplete  = "incomplete"  // its process has ended before all of it was recorded: it never started
	JobUnknown     = "unknown"     // Redis does not respond, so it is not known whether a process runs it
	JobDone        = "done"
	JobFailed      = "failed" // it was canceled or ended, or its canary failed; the rest was not sent
)

// jobBeatEvery is how often the process that runs a job says so.
const jobBeatEvery = 5 * time.Second

// Why a job is not run, or not on.
var (
	ErrNoJob         = &RefusedError{"unknown job: the audit topic has none of this id"}
	ErrJobOver       = &RefusedError{"this job has ended"}
	ErrJobRuns       = &RefusedError{"a process runs this job already, or did until a moment ago; try again in 30 s"}
	ErrJobTaken      = &RefusedError{"another operator resumed or ended this job at the same time; this one sends nothing"}
	ErrJobIncomplete = &RefusedError{"the process ended before all of the job was recorded; nothing of it was done. End it, and select the dead letters again"}
	// ErrJobCanceled is the cause with which the context of a job is canceled to end it for good.
	ErrJobCanceled = errors.New("canceled by an operator")
)

// A JobState is a bulk job with its state.
type JobState struct {
	dlq.Job
	State string
}

// A JobRun is one run of a bulk job, which the audit topic has. Call Execute once.
type JobRun struct {
	Job   dlq.Job
	Items []dlq.JobItem
	Who   Who // who began this run

	live *LiveJobs
	stop context.CancelCauseFunc // of the heartbeats
	beat sync.WaitGroup
}

// LiveJobs are the jobs of redrives and discards that the audit topic holds. It is safe for
// concurrent use.
type LiveJobs struct {
	*Session
	catalog *dlq.Catalog

	mu   sync.Mutex
	jobs []JobState
}

// jobGroup names the heartbeats of the processes that run a job.
func (s *base) jobGroup(id string) string { return s.cfg.Kafka.Group + ".job." + id }

// Items returns those items of the catalog that have one of the ids, as a job records them, the
// oldest failure first.
func (l *LiveJobs) Items(ids []string) []dlq.JobItem {
	found, _ := l.catalog.Find(dlq.Query{IDs: ids}, 0, 0)
	items := make([]dlq.JobItem, 0, len(found))
	for _, i := range found {
		items = append(items, dlq.JobItem{ID: i.ID, Number: i.Number, State: i.State})
	}
	slices.Reverse(items)
	return items
}

// NewJob records a bulk job in the audit topic. It is ready to run when it is recorded as a whole.
func (l *LiveJobs) NewJob(ctx context.Context, action dlq.Action, items []dlq.JobItem, canary, rate int, who Who) (*JobRun, error) {
	job := dlq.Job{
		ID: strings.ToLower(rand.Text()[:10]), Action: action, Actor: who.Actor, Note: who.Note, At: time.Now(), Total: len(items),
		Canary: canary, Rate: rate, Run: 1, Runner: rand.Text(), RunBy: who.Actor,
	}
	run, err := l.newRun(ctx, job, items, who)
	if err != nil {
		return nil, err
	}
	for _, r := range job.Records(items) {
		if err := l.DeadLetters.audit.Write(ctx, r); err != nil {
			run.Leave(ctx)
			return nil, err
		}
	}
	return run, nil
}

// newRun returns a run whose process says that it runs the job: before the audit topic says so, so
// that no other process takes it for dead.
func (l *LiveJobs) newRun(ctx context.Context, job dlq.Job, items []dlq.JobItem, who Who) (*JobRun, error) {
	r := &JobRun{Job: job, Items: items, Who: who, live: l}
	err := r.report(ctx)
	if err != nil && job.Run > 1 {
		return nil, err // without Redis it is not known either whether another process runs it
	}
	ctx, r.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	r.beat.Go(func() { r.reportOn(ctx) })
	return r, nil
}

func (r *JobRun) report(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, jobBeatEvery, errStatusTimeout)
	defer cancel()
	s := r.live.DeadLetters
	return s.parts.Store.Beat(ctx, s.jobGroup(r.Job.ID), dedupe.Heartbeat{ID: r.Job.Runner, Since: r.Job.At})
}

// reportOn reports every few seconds. If Redis does not respond, it goes on: what a job sends does
// not depend on it.
func (r *JobRun) reportOn(ctx context.Context) {
	ticker := time.NewTicker(jobBeatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := r.report(ctx); err != nil && ctx.Err() == nil {
			r.live.DeadLetters.parts.Logger.LogAttrs(ctx, slog.LevelWarn, "heartbeat of a job failed", slog.String("error", err.Error()))
		}
	}
}

// Leave ends the run without an end of the job: another process may resume it at once. It does so
// also after the context has ended.
func (r *JobRun) Leave(ctx context.Context) {
	r.stop(context.Canceled)
	r.beat.Wait()
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), jobBeatEvery, errStatusTimeout)
	defer cancel()
	s := r.live.DeadLetters
	_ = s.parts.Store.EndBeat(ctx, s.jobGroup(r.Job.ID), r.Job.Runner) // it ends by itself in 30 s
}

// Job returns one job of the audit topic with its state as of now. It fails with [ErrNoJob].
func (l *LiveJobs) Job(ctx context.Context, id string) (JobState, error) {
	jobs := l.catalog.Jobs()
	i := slices.IndexFunc(jobs, func(j dlq.Job) bool { return j.ID == id })
	if i < 0 {
		return JobState{}, ErrNoJob
	}
	runs, err := l.isRun(ctx, jobs[i])
	return JobState{jobs[i], stateOf(jobs[i], runs, err)}, nil
}

// isRun reports whether the process that began the latest run of a job still says that it runs it.
func (l *LiveJobs) isRun(ctx context.Context, j dlq.Job) (bool, error) {
	if j.Ended != "" {
		return false, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, jobBeatEvery, errStatusTimeout)
	defer cancel()
	beats, err := l.Control.heartbeats(ctx, l.Control.jobGroup(j.ID))
	return slices.ContainsFunc(beats, func(b dedupe.Heartbeat) bool { return b.ID == j.Runner }), err
}

func stateOf(j dlq.Job, runs bool, err error) string {
	switch {
	case j.Ended == dlq.ResultDone:
		return JobDone
	case j.Ended != "":
		return JobFailed
	case err != nil:
		return JobUnknown
	case runs:
		return JobRunning
	case !j.IsComplete():
		return JobIncomplete
	}
	return JobInterrupted
}

// readJobs keeps the state of the jobs.
func (l *LiveJobs) readJobs(ctx context.Context) {
	var all []JobState
	for _, j := range l.catalog.Jobs() {
		runs, err := l.isRun(ctx, j)
		all = append(all, JobState{j, stateOf(j, runs, err)})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs = all
}

// Jobs returns the latest bulk jobs, the latest last, with their states of a few seconds ago.
func (l *LiveJobs) Jobs() []JobState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.jobs)
}

// ResumeJob begins another run of a job that was interrupted. It sends only what was not requested
// yet, and waits for what is under way. If several processes resume it at once, the audit topic
// decides: the first record of the run counts, and the others fail with [ErrJobTaken].
func (l *LiveJobs) ResumeJob(ctx context.Context, id string, who Who) (*JobRun, error) {
	state, err := l.changeable(ctx, id)
	if err != nil {
		return nil, err
	}
	if state.State == JobIncomplete {
		return nil, ErrJobIncomplete
	}
	items, err := l.DeadLetters.reader.JobItems(ctx, state.Job)
	if err != nil {
		return nil, err
	}
	claim := state.Job
	if claim.Runner = rand.Text(); who.Note == "" {
		who.Note = claim.Note
	}
	record := state.ResumeRecord(claim.Runner, who.Actor, who.Note)
	claim.Run++
	run, err := l.newRun(ctx, claim, items, who)
	if err != nil {
		return nil, err
	}
	if err = l.DeadLetters.audit.Write(ctx, record); err == nil {
		if err = l.catalog.Refresh(ctx); err == nil && !run.hasBegun() {
			err = ErrJobTaken
		}
	}
	if err != nil {
		run.Leave(ctx)
		return nil, err
	}
	return run, nil
}

// JobLeft returns how many items of a job are still as it has planned them, so that another run
// would send them, and the ids of all.
func (l *LiveJobs) JobLeft(ctx context.Context, j dlq.Job) (left int, ids []string, err error) {
	items, err := l.DeadLetters.reader.JobItems(ctx, j)
	if err != nil || len(items) == 0 {
		return 0, nil, err
	}
	planned := make(map[string]dlq.JobItem, len(items))
	for _, i := range items {
		planned[i.ID] = i
		ids = append(ids, i.ID)
	}
	found, _ := l.catalog.Find(dlq.Query{IDs: ids}, 0, 0)
	for _, i := range found {
		if p := planned[i.ID]; p.State == i.State && p.Number == i.Number {
			left++
		}
	}
	return left, ids, nil
}

// changeable returns a job that has not ended and that no process runs.
func (l *LiveJobs) changeable(ctx context.Context, id string) (JobState, error) {
	if err := l.catalog.Refresh(ctx); err != nil {
		return JobState{}, err
	}
	state, err := l.Job(ctx, id)
	switch {
	case err != nil:
		return state, err
	case state.State == JobUnknown:
		_, err := l.isRun(ctx, state.Job)
		return state, err
	case state.State == JobRunning:
		return state, ErrJobRuns
	case state.Ended != "":
		return state, ErrJobOver
	}
	return state, nil
}

// EndJob ends a job that was interrupted. Nothing more of it is sent.
func (l *LiveJobs) EndJob(ctx context.Context, id string, who Who) error {
	state, err := l.changeable(ctx, id)
	if err != nil {
		return err
	}
	err = l.DeadLetters.audit.Write(ctx, state.EndRecord(dlq.ResultFailed, "ended by an operator", who.Actor, who.Note))
	if err == nil {
		err = l.catalog.Refresh(ctx)
	}
	if err == nil && !slices.ContainsFunc(l.catalog.Jobs(), func(j dlq.Job) bool { return j.ID == id && j.Ended != "" }) {
		err = ErrJobTaken
	}
	return err
}

// isTaken reports whether the job has ended, or another run of it has begun.
func (r *JobRun) isTaken() bool {
	return slices.ContainsFunc(r.live.catalog.Jobs(), func(j dlq.Job) bool {
		return j.ID == r.Job.ID && (j.Ended != "" || j.Run > r.Job.Run || j.Run == r.Job.Run && j.Runner != r.Job.Runner)
	})
}

// hasBegun reports whether the audit topic has this run as the latest one of its job.
func (r *JobRun) hasBegun() bool {
	return slices.ContainsFunc(r.live.catalog.Jobs(), func(j dlq.Job) bool {
		return j.ID == r.Job.ID && j.Ended == "" && j.Run == r.Job.Run && j.Runner == r.Job.Runner
	})
}

// Execute carries out the job, and reports a result for each dead letter. It ends the job when all
// is done, when its context is canceled with [ErrJobCanceled], and when its canary is not good.
// After any other error another run can resume it.
func (r *JobRun) Execute(ctx context.Context, report func(ItemResult), notice func(NoResults)) error {
	defer r.Leave(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var watch sync.WaitGroup
	watch.Go(func() { r.watch(ctx, cancel) })
	err := r.carryOut(ctx, report, notice)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(context.Canceled)
	watch.Wait()
	_, bad := errors.AsType[*CanaryError](err)
	result, reason := dlq.ResultDone, ""
	switch {
	case errors.Is(err, ErrJobCanceled), bad:
		result, reason = dlq.ResultFailed, err.Error()
	case err != nil:
		return err
	}
	return errors.Join(err, r.end(context.WithoutCancel(ctx), result, reason))
}

// end records the end of the job, and reads it back, so that pages show it.
func (r *JobRun) end(ctx context.Context, result, reason string) error {
	err := r.live.DeadLetters.audit.Write(ctx, r.Job.EndRecord(result, reason, r.Who.Actor, r.Who.Note))
	if err == nil {
		ctx, cancel := context.WithTimeoutCause(ctx, statusTimeout, errStatusTimeout)
		defer cancel()
		if r.live.catalog.Refresh(ctx) == nil { // otherwise the view reads it a moment later
			r.live.readJobs(ctx)
		}
	}
	return err
}

// watch stops the run when another one has begun, or an operator has ended the job elsewhere.
func (r *JobRun) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(catalogEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if r.isTaken() {
			cancel(ErrJobTaken)
			return
		}
	}
}

func (r *JobRun) carryOut(ctx context.Context, report func(ItemResult), notice func(NoResults)) error {
	s := r.live.DeadLetters
	if r.Job.Action == dlq.ActionDiscard {
		return s.discardPlanned(ctx, r.Items, r.Who, report)
	}
	run, err := s.NewRedrive(ctx, RedriveRequest{
		Query: dlq.Query{IDs: idsOf(r.Items)}, Rate: r.Job.Rate, Canary: r.Job.Canary, Who: r.Who, Planned: r.Items,
	})
	if err != nil {
		return err
	}
	_, err = run.Run(ctx, report, notice)
	return err
}

func idsOf(items []dlq.JobItem) []string {
	ids := make([]string, len(items))
	for n, i := range items {
		ids[n] = i.ID
	}
	return ids
}

func byID(items []dlq.JobItem) map[string]dlq.JobItem {
	all := make(map[string]dlq.JobItem, len(items))
	for _, i := range items {
		all[i.ID] = i
	}
	return all
}

// settled returns the result of an item that is not as its job has planned it: it was redriven or
// discarded since then, by this job or by something else. Not ok: it is as planned, or the job's
// own redrive of it is under way.
func settled(planned dlq.JobItem, i dlq.Item) (result ItemResult, ok bool) {
	target := planned.Target()
	switch {
	case i.State == dlq.StateRedriving && i.Number == target,
		i.State == planned.State && i.Number == planned.Number:
		return ItemResult{}, false
	case i.State == dlq.StateOpen && i.Number >= target:
		return ItemResult{ID: i.ID, Result: dlq.ResultDeadLettered, Detail: string(i.DeadLetter.Reason) + ", since the plan", Failed: true}, true
	case i.State == dlq.StateOpen:
		return failedItem(i.ID, "it has changed since the plan: redrive it alone"), true
	case i.State == dlq.StateRedriving:
		return ItemResult{ID: i.ID, Result: "left out", Detail: "another redrive of it is under way"}, true
	}
	return ItemResult{ID: i.ID, Result: string(i.State), Detail: "since the plan"}, true
}
