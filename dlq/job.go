package dlq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A bulk job is recorded before it starts, as records of the audit topic that share one subject and
// so one partition: its items in parts, then one record for each later run, then its end. The
// records have the action of the job, [ActionRedrive] or [ActionDiscard].

const (
	jobPrefix = "job:" // of a job's subject; no dead letter's id begins like that

	// jobPartBytes bounds the items of one record: the topic takes at least 64 KiB.
	jobPartBytes = 32 << 10
	// catalogJobs is how many jobs a catalog remembers.
	catalogJobs = 100
)

// A JobDetail is what the audit record of a job holds.
type JobDetail struct {
	// Run counts the runs of the job from 1. A record without items and without a result begins this
	// run, if it is the first record to do so.
	Run    int    `json:"run"`
	Runner string `json:"runner,omitempty"` // random, of that run
	// Of the first run: the items in parts, from 1.
	Part   int      `json:"part,omitempty"`
	Parts  int      `json:"parts,omitempty"`
	Total  int      `json:"total,omitempty"` // of all parts
	Items  []string `json:"items,omitempty"` // as [JobItem.String] writes them
	Canary int      `json:"canary,omitempty"`
	Rate   int      `json:"rate,omitempty"` // redrives a second
}

// A JobItem is a dead letter as the plan of a job saw it.
type JobItem struct {
	ID     string // in full form
	Number int    // of its latest delivery then
	State  State  // then
}

// Target returns the number of the redrive that a job sends of the item: always the same one, so
// that the event runs once, whatever else sends it.
func (i JobItem) Target() int {
	if i.State == StateRedriving {
		return i.Number
	}
	return i.Number + 1
}

// String returns id, number and state, separated by blanks; without the state, it is open.
func (i JobItem) String() string {
	text := i.ID + " " + strconv.Itoa(i.Number)
	if i.State != StateOpen {
		text += " " + string(i.State)
	}
	return text
}

var errJobItem = errors.New("dlq: not an item of a job")

func parseJobItem(text string) (JobItem, error) {
	parts := strings.Split(text, " ")
	if len(parts) < 2 || len(parts) > 3 {
		return JobItem{}, errJobItem
	}
	i := JobItem{ID: parts[0], State: StateOpen}
	var err error
	if i.Number, err = strconv.Atoi(parts[1]); err != nil || i.Number < 0 {
		return JobItem{}, errJobItem
	}
	if len(parts) == 3 {
		i.State = State(parts[2])
	}
	if id, err := ParseID(i.ID); err != nil || id.short || !slices.Contains(States(), i.State) {
		return JobItem{}, errJobItem
	}
	return i, nil
}

// A Job is a bulk job as the audit topic has it.
type Job struct {
	ID           string
	Action       Action
	Actor, Note  string // of who started it
	At           time.Time
	Total        int // items
	Canary, Rate int
	Run          int    // the latest
	Runner       string // of that run
	RunBy        string // who began that run
	RunAt        time.Time
	// Ended is the result of the job; empty: it has not ended. Of one that failed, Reason says why.
	Ended, Reason, EndedBy string
	EndedAt                time.Time

	parts  int
	places []Place // of the parts that were read
}

// IsComplete reports whether all parts are recorded. A job without all of them never started.
func (j Job) IsComplete() bool { return j.parts > 0 && len(j.places) == j.parts }

// Records returns the records that start the job with these items. They are written in this order,
// before anything else of the job.
func (j Job) Records(items []JobItem) []AuditRecord {
	var parts [][]string
	bytes := jobPartBytes
	for _, i := range items {
		text := i.String()
		if bytes += len(text) + len(`"",`); bytes > jobPartBytes {
			parts, bytes = append(parts, nil), 0
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], text)
	}
	records := make([]AuditRecord, 0, len(parts))
	for n, part := range parts {
		r := j.record(ResultRequested)
		r.At, r.Actor, r.Note = j.At, j.Actor, j.Note
		*r.Detail.Job = JobDetail{
			Run: 1, Runner: j.Runner, Part: n + 1, Parts: len(parts), Total: len(items), Items: part, Canary: j.Canary, Rate: j.Rate,
		}
		records = append(records, r)
	}
	return records
}

// ResumeRecord returns the record that begins the next run of the job.
func (j Job) ResumeRecord(runner, actor, note string) AuditRecord {
	r := j.record(ResultRequested)
	r.Actor, r.Note = actor, note
	r.Detail.Job.Run, r.Detail.Job.Runner = j.Run+1, runner
	return r
}

// EndRecord returns the record that ends the job in its current run. The reason is that of a
// failure.
func (j Job) EndRecord(result, reason, actor, note string) AuditRecord {
	r := j.record(result)
	r.Actor, r.Note, r.Detail.Reason = actor, note, reason
	return r
}

func (j Job) record(result string) AuditRecord {
	return AuditRecord{Action: j.Action, Subject: jobPrefix + j.ID, Result: result, Detail: Detail{Job: &JobDetail{Run: j.Run}}}
}

// add applies a record of the job. They come in the order in which they were written. Of several
// records that begin the same run, only the first one counts.
func (j *Job) add(r AuditRecord, at Place) {
	d := r.Detail.Job
	switch {
	case r.Result != ResultRequested:
		if d.Run == max(j.Run, 1) && j.Ended == "" {
			j.Ended, j.Reason, j.EndedBy, j.EndedAt = r.Result, r.Detail.Reason, r.Actor, r.At
		}
	case d.Part == 1 && len(j.places) == 0:
		j.Action, j.Actor, j.Note, j.At, j.Total = r.Action, r.Actor, r.Note, r.At, d.Total
		j.Canary, j.Rate, j.Run, j.Runner, j.RunBy, j.RunAt = d.Canary, d.Rate, 1, d.Runner, r.Actor, r.At
		j.parts, j.places = d.Parts, []Place{at}
	case d.Part > 0:
		if d.Part == len(j.places)+1 && d.Part <= j.parts {
			j.places = append(j.places, at)
		}
	case d.Run == j.Run+1 && j.IsComplete() && j.Ended == "":
		j.Run, j.Runner, j.RunBy, j.RunAt = d.Run, d.Runner, r.Actor, r.At
	}
}

// JobItems reads the items of a job. It fails with an [*ExpiredError] if retention has removed some
// of them.
func (r *Reader) JobItems(ctx context.Context, j Job) ([]JobItem, error) {
	if !j.IsComplete() {
		return nil, fmt.Errorf("dlq: job %s is recorded in part only", j.ID)
	}
	items := make([]JobItem, 0, j.Total)
	for _, at := range j.places {
		a, err := r.AuditRecord(ctx, at)
		if err != nil {
			return nil, err
		}
		if a.Subject != jobPrefix+j.ID || a.Detail.Job == nil {
			return nil, ErrNoAuditRecord
		}
		for _, text := range a.Detail.Job.Items {
			i, err := parseJobItem(text)
			if err != nil {
				return nil, err
			}
			items = append(items, i)
		}
	}
	return items, nil
}

// JobID returns the id of the job that a subject of the audit topic names; empty: it names none.
func JobID(subject string) string {
	id, _ := strings.CutPrefix(subject, jobPrefix)
	if id == subject {
		return ""
	}
	return id
}

// addJobLocked applies an audit record to the job that it is about.
func (c *Catalog) addJobLocked(a AuditRecord, at Place) {
	id := JobID(a.Subject)
	if id == "" || a.Action != ActionRedrive && a.Action != ActionDiscard {
		return
	}
	i := slices.IndexFunc(c.jobs, func(j *Job) bool { return j.ID == id })
	if i < 0 {
		i = len(c.jobs)
		c.jobs = append(c.jobs, &Job{ID: id, Action: a.Action})
	}
	c.jobs[i].add(a, at)
	if len(c.jobs) > catalogJobs {
		c.jobs = slices.Delete(c.jobs, 0, 1)
	}
}

// Jobs returns the latest jobs, at most 100, in the order in which they were started.
func (c *Catalog) Jobs() []Job {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Job, 0, len(c.jobs))
	for _, j := range c.jobs {
		one := *j
		one.places = slices.Clone(j.places)
		all = append(all, one)
	}
	slices.SortStableFunc(all, func(a, b Job) int { return a.At.Compare(b.At) })
	return all
}
