package ops

import (
	"context"
	"errors"
	"slices"
	"sync"

	"membersync/consumer"
	"membersync/consumer/preview"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/partlog"
	"membersync/dlq/partlog/batch"
	"membersync/mapper"
)

// A ReplayPlan is the preview of a replay as JSON shows it.
type ReplayPlan struct {
	Records    int64 `json:"records"`    // offsets of all ranges
	Send       int64 `json:"send"`       // events of which something would be sent
	Done       int64 `json:"done"`       // marked done, or with a dead letter that is for a redrive: skipped
	Superseded int64 `json:"superseded"` // newer events have applied all their fields
	Unchanged  int64 `json:"unchanged"`
	Ignored    int64 `json:"ignored"`
	Poison     int64 `json:"poison"`   // would be dead-lettered
	Redrives   int64 `json:"redrives"` // of all these, events of the redrive topic
	Expired    int64 `json:"expired"`  // redrives whose dead letter or request retention has removed: skipped
	Calls      int64 `json:"calls"`    // at least: all of one member folded into one
	Seconds    int64 `json:"seconds"`  // that so many calls take under the rate limit, rounded up

	// WithOpenDeadLetter counts, of the events that are done, those whose dead letter is open: only a
	// redrive processes them.
	WithOpenDeadLetter int64 `json:"with_open_dead_letter"`

	// Fields counts, by field, the members for which a value of it would be sent.
	Fields map[string]int64 `json:"fields"`

	// Members are the first members for which something would be sent, as many as were requested.
	Members []MemberDiff `json:"members"`
}

// HasEvents reports whether the ranges hold an event, with any outcome, of the employee whose
// events are replayed.
func (p ReplayPlan) HasEvents() bool {
	return p.Send+p.Done+p.Superseded+p.Unchanged+p.Ignored+p.Poison > 0
}

// A MemberDiff is what would be sent for a member, masked.
type MemberDiff struct {
	EmployeeID string            `json:"employee_id"`
	Fields     map[string]string `json:"fields"` // by name: ***, or "cleared"
}

// Cleared stands for a value that is removed.
const Cleared = "cleared"

// An Outcome is what a replay would do with an event.
type Outcome string

// The outcomes of a preview, with the names of a [ReplayPlan].
const (
	OutcomeSend       Outcome = "send"
	OutcomeDone       Outcome = "done"
	OutcomeSuperseded Outcome = "superseded"
	OutcomeUnchanged  Outcome = "unchanged"
	OutcomeIgnored    Outcome = "ignored"
	OutcomePoison     Outcome = "poison"
	OutcomeRefused    Outcome = "refused" // the state was lost; only explain has it
)

// A planned event is one of a preview.
type planned struct {
	id      dedupe.EventID
	redrive int
	version string // empty: it is poison, unless it is done
	fields  []string
	cleared []string // of these

	employee string
}

func newPlanned(id dedupe.EventID, res mapper.Result) planned {
	p := planned{id: id, version: string(res.Event.Version), employee: res.Event.EmployeeID}
	for field, value := range res.Event.Update.All() {
		p.fields = append(p.fields, field.String())
		if text := string(value.AppendJSON(nil)); text == `""` || text == "[]" {
			p.cleared = append(p.cleared, field.String())
		}
	}
	if res.Fault != nil {
		p.version = ""
	}
	return p
}

// outcome returns it for an event with or without a done mark, from the versions of the member's
// fields.
func (p planned) outcome(done bool, versions map[string]string) Outcome {
	switch {
	case done:
		return OutcomeDone
	case p.version == "":
		return OutcomePoison
	case len(p.fields) == 0:
		return OutcomeUnchanged
	case len(p.sent(versions)) == 0:
		return OutcomeSuperseded
	}
	return OutcomeSend
}

// sent returns the fields without a newer value.
func (p planned) sent(versions map[string]string) []string {
	return slices.DeleteFunc(slices.Clone(p.fields), func(name string) bool { return p.version < versions[name] })
}

func versionsOf(state dedupe.MemberState) map[string]string {
	versions := make(map[string]string, len(state.Fields))
	for _, f := range state.Fields {
		versions[f.Name] = f.Version
	}
	return versions
}

// A replayPreview counts. Its ranges are read concurrently.
type replayPreview struct {
	replay   *Replay
	progress func(records int)

	mu      sync.Mutex
	records int
	sum     ReplayPlan
	members map[dedupe.Member]map[string]bool // the fields of which something would be sent
	diffs   map[dedupe.Member]int             // place in the plan's members
	open    map[openKey]bool                  // the open dead letters of events that are skipped
}

// An openKey names a dead letter, whichever delivery of its event is read.
type openKey struct {
	partition int
	offset    int64
	index     int
	invalid   bool
}

// Preview reads the ranges, and Redis, and counts what a run would do: of a replay that is resumed,
// with what is left. It writes nothing. Progress is called with the number of records read so far,
// one call at a time.
func (r *Replay) Preview(ctx context.Context, progress func(records int)) (ReplayPlan, error) {
	p := &replayPreview{replay: r, progress: progress, members: map[dedupe.Member]map[string]bool{}, diffs: map[dedupe.Member]int{}, open: map[openKey]bool{}}
	reads := r.reads
	if r.known {
		var err error
		if reads, err = r.replays.remaining(ctx, r.ID, r.reads); err != nil {
			return p.sum, err
		}
	}
	p.sum.Members = []MemberDiff{}
	p.sum.Records = offsetsIn(reads)
	var all sync.WaitGroup
	faults := make([]error, len(reads))
	for i, one := range reads {
		all.Go(func() { faults[i] = p.read(ctx, one) })
	}
	all.Wait()
	p.sum.Calls, p.sum.WithOpenDeadLetter = int64(len(p.members)), int64(len(p.open))
	p.sum.Seconds = int64(r.replays.UnderLimit(len(p.members)).Seconds())
	p.sum.Fields = map[string]int64{}
	for _, fields := range p.members {
		for name := range fields {
			p.sum.Fields[name]++
		}
	}
	return p.sum, errors.Join(faults...)
}

// gatherEvents bounds what is gathered of a partition before Redis is asked.
const gatherEvents = 2000

func (p *replayPreview) read(ctx context.Context, r consumer.Range) error {
	s := p.replay.replays
	byMember, n := map[dedupe.Member][]planned{}, 0
	_, err := s.log().Read(ctx, r.Topic, r.Partition, partlog.Range{First: r.First, End: r.End}, func(rec *partlog.Record) error {
		p.advance()
		in, err := sourceRecord(r.Topic, rec)
		if err != nil {
			return err
		}
		run, err := s.decode(ctx, in, rec.Rejection)
		if err != nil || !consumer.Covers(p.replay.ranges, in) && !consumer.Covers(p.replay.ranges, run.Record) {
			return err
		}
		if run.Expired {
			p.countExpired()
			return nil
		}
		for _, res := range preview.OfEmployee(run.Results, p.replay.Employee) {
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

func (p *replayPreview) advance() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records++
	p.progress(p.records)
}

// countExpired counts a redrive without evidence. Whose it is, is not known.
func (p *replayPreview) countExpired() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sum.Expired++
}

// decode returns what a record of either topic would run. A rejection is why it was not read.
func (s *previews) decode(ctx context.Context, rec mapper.Record, rejection *batch.Rejection) (run preview.Redrive, err error) {
	if rec.Topic != s.cfg.Kafka.Topic {
		verifier := preview.Verifier{Archive: s.reader, Digest: s.parts.EditDigest}
		return preview.DecodeRedrive(ctx, verifier, rec, s.mapRecord)
	}
	run.Record = rec
	if rejection != nil {
		run.Results = preview.Unread(rejection.IsMalformed, rejection.Text)
		return run, nil
	}
	run.Results, err = s.mapRecord(ctx, rec)
	return run, err
}

// take counts what needs no look at Redis, and gathers the rest.
func (p *replayPreview) take(byMember map[dedupe.Member][]planned, run preview.Redrive, res mapper.Result) int {
	cfg := p.replay.replays.cfg
	p.mu.Lock()
	defer p.mu.Unlock()
	if run.Number > 0 || run.Record.Topic != cfg.Kafka.Topic {
		p.sum.Redrives++
	}
	if res.Event.Ignored != "" {
		p.sum.Ignored++
		return 0
	}
	if p.skipsLocked(preview.DeliveryOf(cfg.Kafka.Topic, run, res)) {
		p.sum.Done++
		return 0
	}
	member, id := preview.Identify(cfg.CRM.BaseURL, cfg.CRM.CorpID, run.Record, res)
	one := newPlanned(id, res)
	one.redrive = run.Number
	byMember[member] = append(byMember[member], one)
	return 1
}

// skipsLocked reports whether a delivery is left out for its dead letter, and remembers which of
// these are open.
func (p *replayPreview) skipsLocked(d dlq.Delivery) bool {
	x := p.replay.index
	if x == nil || !x.ReplaySkips(d) {
		return false
	}
	if v, ok := x.StateOf(d); ok && v.State == dlq.StateOpen {
		p.open[openKey{d.Source.Partition, d.Source.Offset, d.Index, d.Invalid}] = true
	}
	return true
}

// look asks Redis about what is gathered.
func (p *replayPreview) look(ctx context.Context, byMember map[dedupe.Member][]planned) error {
	defer clear(byMember)
	store := p.replay.replays.parts.Store
	for member, events := range byMember {
		ids := make([]dedupe.EventID, len(events))
		for i, one := range events {
			ids[i] = one.id
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

func (p *replayPreview) count(member dedupe.Member, events []planned, done []dedupe.EventGrant, versions map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, one := range events {
		isDone := done[i].Done && done[i].Redrive >= one.redrive && (!p.replay.Reapply || done[i].Outcome == string(consumer.DeadLettered))
		switch one.outcome(isDone, versions) {
		case OutcomeDone:
			p.sum.Done++
		case OutcomePoison:
			p.sum.Poison++
		case OutcomeUnchanged:
			p.sum.Unchanged++
		case OutcomeSuperseded:
			p.sum.Superseded++
		case OutcomeIgnored, OutcomeRefused: // the one is counted when it is read
		case OutcomeSend:
			p.sum.Send++
			if p.members[member] == nil {
				p.members[member] = map[string]bool{}
			}
			for _, name := range one.sent(versions) {
				p.members[member][name] = true
			}
			p.addDiffLocked(member, one, versions)
		}
	}
}

// addDiffLocked adds an event to the differences of its member, if these are requested.
func (p *replayPreview) addDiffLocked(member dedupe.Member, one planned, versions map[string]string) {
	i, known := p.diffs[member]
	if !known {
		if len(p.sum.Members) >= p.replay.Diffs {
			return
		}
		i = len(p.sum.Members)
		p.diffs[member] = i
		p.sum.Members = append(p.sum.Members, MemberDiff{one.employee, map[string]string{}})
	}
	for _, name := range one.sent(versions) {
		p.sum.Members[i].Fields[name] = Masked
		if slices.Contains(one.cleared, name) {
			p.sum.Members[i].Fields[name] = Cleared
		}
	}
}
