package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"membersync/consumer"
	"membersync/consumer/preview"
	"membersync/dedupe"
	"membersync/dlq/partlog"
	"membersync/dlq/partlog/batch"
	"membersync/mapper"
)

// The json form of replay --dry-run.
type replayPlanJSON struct {
	Records   int64 `json:"records"` // offsets of all ranges
	Send      int64 `json:"send"`    // events of which something would be sent
	Done      int64 `json:"done"`    // marked done, or its dead letter is for a redrive: skipped
	Stale     int64 `json:"stale"`   // newer events have applied all their fields
	Unchanged int64 `json:"unchanged"`
	Ignored   int64 `json:"ignored"`
	Poison    int64 `json:"poison"`   // would be dead-lettered
	Redrives  int64 `json:"redrives"` // of all these, events of the redrive topic
	Expired   int64 `json:"expired"`  // redrives whose dead letter or request retention has removed: skipped
	Calls     int64 `json:"calls"`    // at least: all of one member folded into one
	Seconds   int64 `json:"seconds"`  // that so many calls take under the rate limit
}

// plan is the dry run: it reads the ranges, and Redis, and counts.
func (j *replayJob) plan(ctx context.Context) int {
	p := &replayPlan{job: j, members: map[dedupe.Member]bool{}}
	if err := j.prepare(ctx); err != nil {
		return j.in.failed(ctx, err)
	}
	p.sum.Records = j.total()
	var all sync.WaitGroup
	faults := make([]error, len(j.reads))
	for i, r := range j.reads {
		all.Go(func() { faults[i] = p.read(ctx, r) })
	}
	all.Wait()
	if err := errors.Join(faults...); err != nil {
		return j.in.failed(ctx, err)
	}
	p.sum.Calls = int64(len(p.members))
	if limit := j.desk.cfg.CRM.Rate; limit.Calls > 0 {
		p.sum.Seconds = int64((time.Duration(p.sum.Calls) * limit.Window / time.Duration(limit.Calls)).Seconds())
	}
	if j.in.output == outputJSON {
		return j.in.printJSON(p.sum)
	}
	s := p.sum
	j.in.print(fmt.Sprintf("would replay %d offsets\n  send       %d\n  done       %d\n  stale      %d\n  unchanged  %d\n  ignored    %d\n  poison     %d\n  redrives   %d\n"+
		"  expired    %d\nat least %s, %s under the rate limit\n", s.Records, s.Send, s.Done, s.Stale, s.Unchanged, s.Ignored, s.Poison, s.Redrives, s.Expired,
		plural(int(s.Calls), "call"), time.Duration(s.Seconds)*time.Second))
	return exitDone
}

// A replayPlan counts. Its ranges are read beside each other.
type replayPlan struct {
	job *replayJob

	mu      sync.Mutex
	sum     replayPlanJSON
	members map[dedupe.Member]bool // with something to send
}

// A foreseen is one event of a plan.
type foreseen struct {
	id      dedupe.EventID
	redrive int
	version string // empty: it is poison, unless it is done
	fields  []string
}

func newForeseen(id dedupe.EventID, res mapper.Result) foreseen {
	f := foreseen{id: id, version: string(res.Event.Version)}
	for field := range res.Event.Update.All() {
		f.fields = append(f.fields, field.String())
	}
	if res.Fault != nil {
		f.version = ""
	}
	return f
}

// A fate is what a replay would make of an event. The names are those of the plan.
type fate string

const (
	fateSend      fate = "send"
	fateDone      fate = "done"
	fateStale     fate = "stale"
	fateUnchanged fate = "unchanged"
	fateIgnored   fate = "ignored"
	fatePoison    fate = "poison"
	fateRefused   fate = "refused" // the state was lost; of explain alone, since a replay does not come so far
)

// fate tells it from the event's mark and the versions of the member's fields.
func (f foreseen) fate(done bool, versions map[string]string) fate {
	newer := func(name string) bool { return f.version >= versions[name] }
	switch {
	case done:
		return fateDone
	case f.version == "":
		return fatePoison
	case len(f.fields) == 0:
		return fateUnchanged
	case !slices.ContainsFunc(f.fields, newer):
		return fateStale
	}
	return fateSend
}

func versionsOf(state dedupe.MemberState) map[string]string {
	versions := make(map[string]string, len(state.Fields))
	for _, f := range state.Fields {
		versions[f.Name] = f.Version
	}
	return versions
}

func (p *replayPlan) read(ctx context.Context, r consumer.Range) error {
	d := p.job.desk
	byMember, n := map[dedupe.Member][]foreseen{}, 0
	log := partlog.New(d.parts.Kafka, pageBytes, pageWait)
	_, err := log.Read(ctx, r.Topic, r.Partition, partlog.Range{First: r.First, End: r.End}, func(rec *partlog.Record) error {
		key, err := rec.Key()
		if err != nil {
			return err
		}
		value, err := rec.Value()
		if err != nil {
			return err
		}
		in := mapper.Record{
			Topic: r.Topic, Partition: r.Partition, Offset: rec.Offset, Time: rec.Time, Key: key, Value: value, Headers: mapperHeaders(rec.Headers),
		}
		run, err := d.runs(ctx, in, rec.Rejection)
		if err != nil || !consumer.Covers(p.job.ranges, in) && !consumer.Covers(p.job.ranges, run.Record) {
			return err
		}
		if run.Expired {
			p.skipExpired()
			return nil
		}
		for _, res := range preview.OfEmployee(run.Results, p.job.employee) {
			n += p.take(byMember, run, res)
		}
		if n < gatherEvents {
			return nil
		}
		n = 0
		return p.look(ctx, byMember)
	})
	if err != nil {
		return err
	}
	return p.look(ctx, byMember)
}

// skipExpired counts a redrive without evidence. Whose it is, is not known.
func (p *replayPlan) skipExpired() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sum.Expired++
}

// verifier decides about redrives as the service does.
func (d *desk) verifier() preview.Verifier {
	return preview.Verifier{Archive: d.reader, Digest: d.parts.EditDigest}
}

// runs is what a record of either topic would run; no is why it was not read.
func (d *desk) runs(ctx context.Context, rec mapper.Record, no *batch.Rejection) (run preview.Redrive, err error) {
	if rec.Topic != d.cfg.Kafka.Topic {
		return preview.DecodeRedrive(ctx, d.verifier(), rec, d.translate)
	}
	run.Record = rec
	if no != nil {
		run.Results = preview.Unread(no.IsMalformed, no.Text)
		return run, nil
	}
	run.Results, err = d.translate(ctx, rec)
	return run, err
}

// take counts what needs no look at Redis, and gathers the rest.
func (p *replayPlan) take(byMember map[dedupe.Member][]foreseen, run preview.Redrive, res mapper.Result) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if run.Number > 0 || run.Record.Topic != p.job.desk.cfg.Kafka.Topic {
		p.sum.Redrives++
	}
	if res.Event.Ignored != "" {
		p.sum.Ignored++
		return 0
	}
	if x := p.job.index; x != nil && x.ReplaySkips(preview.DeliveryOf(p.job.desk.cfg.Kafka.Topic, run, res)) {
		p.sum.Done++
		return 0
	}
	member, id := preview.Identify(p.job.desk.cfg.CRM.BaseURL, p.job.desk.cfg.CRM.CorpID, run.Record, res)
	f := newForeseen(id, res)
	f.redrive = run.Number
	byMember[member] = append(byMember[member], f)
	return 1
}

// look asks Redis about what is gathered.
func (p *replayPlan) look(ctx context.Context, byMember map[dedupe.Member][]foreseen) error {
	defer clear(byMember)
	store := p.job.desk.parts.Store
	for member, events := range byMember {
		ids := make([]dedupe.EventID, len(events))
		for i, f := range events {
			ids[i] = f.id
		}
		done, err := store.Done(ctx, member, ids)
		if err != nil {
			return err
		}
		state, err := store.Member(ctx, member, nil)
		if err != nil {
			return err
		}
		p.count(member, events, done, versionsOf(state))
	}
	return nil
}

func (p *replayPlan) count(member dedupe.Member, events []foreseen, done []dedupe.EventGrant, versions map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, f := range events {
		isDone := done[i].Done && done[i].Redrive >= f.redrive && (!p.job.reapply || done[i].Outcome == string(consumer.DeadLettered))
		switch f.fate(isDone, versions) {
		case fateDone:
			p.sum.Done++
		case fatePoison:
			p.sum.Poison++
		case fateUnchanged:
			p.sum.Unchanged++
		case fateStale:
			p.sum.Stale++
		case fateIgnored, fateRefused: // the one is counted when it is read
		case fateSend:
			p.sum.Send++
			p.members[member] = true
		}
	}
}
