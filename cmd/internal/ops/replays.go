package ops

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"membersync/consumer"
	"membersync/dlq"
)

// The states of a replay.
const (
	ReplayRunning  = "running"  // a process runs it now
	ReplayStopped  = "stopped"  // it can be resumed
	ReplayDone     = "done"     // it has reached its end
	ReplayCanceled = "canceled" // it cannot be resumed
)

// A ReplayState is a replay that the audit topic knows, as JSON shows it.
type ReplayState struct {
	ID          string `json:"id"`
	State       string `json:"state"` // running, stopped, done or canceled
	RequestedAt Time   `json:"requested_at"`
	Actor       string `json:"actor"`
	Note        string `json:"note"`
	Employee    string `json:"employee_id"` // empty: all
	Reapply     bool   `json:"reapply"`
	Records     int64  `json:"records"` // offsets of all that is read
	Done        int64  `json:"done"`    // of these, processed and committed so far

	ranges []consumer.Range
	ended  string
}

// replayPrefix begins the names of the groups of replays.
func (s *base) replayPrefix() string { return s.cfg.Kafka.Group + ".replay." }

// Replays returns the replays that the audit topic still knows, the latest last.
func (s *Replayer) Replays(ctx context.Context) ([]ReplayState, error) {
	return s.replaysOf(ctx, func(show func(dlq.AuditRecord)) error { return s.reader.Audit(ctx, show) })
}

// replaysOf returns the replays that are named in the audit records which read shows.
func (s *Replayer) replaysOf(ctx context.Context, read func(show func(dlq.AuditRecord)) error) ([]ReplayState, error) {
	byID := map[string]*ReplayState{}
	err := read(func(a dlq.AuditRecord) {
		id, ok := strings.CutPrefix(a.Subject, s.replayPrefix())
		if !ok || a.Action != dlq.ActionReplay && a.Action != dlq.ActionReplayCancel {
			return
		}
		r := byID[id]
		if r == nil {
			r = &ReplayState{ID: id}
			byID[id] = r
		}
		r.add(a)
	})
	if err != nil {
		return nil, err
	}
	all := make([]ReplayState, 0, len(byID))
	for _, r := range byID {
		if err := s.addProgress(ctx, r); err != nil {
			return nil, err
		}
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b ReplayState) int {
		return cmp.Or(a.RequestedAt.Compare(b.RequestedAt.Time), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

func (r *ReplayState) add(a dlq.AuditRecord) {
	switch {
	case a.Action == dlq.ActionReplayCancel:
		r.ended = cmp.Or(r.ended, ReplayCanceled)
	case a.Result == dlq.ResultDone:
		r.ended, r.Records = ReplayDone, a.Detail.Records
	case a.Result == dlq.ResultRequested && r.RequestedAt.IsZero():
		r.RequestedAt, r.Actor, r.Note = Time{a.At}, a.Actor, a.Note
		r.Employee, r.Reapply, r.Records, r.ranges = a.Detail.Employee, a.Detail.Reapply, a.Detail.Records, rangesOf(a.Detail)
	}
}

// addProgress adds the state, and how much of what is read is committed.
func (s *Replayer) addProgress(ctx context.Context, r *ReplayState) error {
	r.State = cmp.Or(r.ended, ReplayStopped)
	if r.ended == ReplayDone {
		r.Done = r.Records
		return nil
	}
	running, err := s.isReplayed(ctx, r.ID)
	if err != nil {
		return err
	}
	if running && r.ended == "" {
		r.State = ReplayRunning
	}
	reads, err := s.reads(ctx, r.ranges)
	if err != nil {
		return err
	}
	r.Done, err = s.committedBy(ctx, r.ID, reads)
	return err
}

// isReplayed reports whether a process runs a replay: it writes heartbeats, and removes its own at
// the end. Those of a process that was killed count for up to 30 s.
func (s *Replayer) isReplayed(ctx context.Context, id string) (bool, error) {
	beats, err := s.heartbeats(ctx, s.replayPrefix()+id)
	return len(beats) > 0, err
}

// committedBy returns how many offsets of ranges a replay's group has committed.
func (s *Replayer) committedBy(ctx context.Context, id string, ranges []consumer.Range) (int64, error) {
	left, err := s.remaining(ctx, id, ranges)
	return offsetsIn(ranges) - offsetsIn(left), err
}

// remaining returns the parts of ranges that a replay's group has not committed.
func (s *Replayer) remaining(ctx context.Context, id string, ranges []consumer.Range) ([]consumer.Range, error) {
	topics := map[string][]int{}
	for _, r := range ranges {
		topics[r.Topic] = append(topics[r.Topic], r.Partition)
	}
	if len(topics) == 0 {
		return nil, nil
	}
	stored, err := s.offsetsOf(ctx, s.replayPrefix()+id, topics)
	left := make([]consumer.Range, 0, len(ranges))
	for _, r := range ranges {
		for _, p := range stored[r.Topic] {
			if p.Partition == r.Partition && p.Error == nil {
				r.First = min(max(p.CommittedOffset, r.First), r.End)
			}
		}
		if r.First < r.End {
			left = append(left, r)
		}
	}
	return left, err
}

func offsetsIn(ranges []consumer.Range) (n int64) {
	for _, r := range ranges {
		n += r.End - r.First
	}
	return n
}

// rangesOf returns the ranges of a replay's audit record.
func rangesOf(d dlq.Detail) (ranges []consumer.Range) {
	for _, o := range d.Offsets {
		ranges = append(ranges, consumer.Range{Topic: o.Topic, Partition: o.Partition, First: o.From, End: o.To})
	}
	return ranges
}

// CancelReplay ends a replay for good: a process that runs it stops within seconds, and it cannot
// be resumed. It fails with [ErrNoReplay] or [ErrReplayOver].
func (s *Replayer) CancelReplay(ctx context.Context, id string, who Who) error {
	all, err := s.Replays(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(r ReplayState) bool { return r.ID == id })
	switch {
	case i < 0:
		return ErrNoReplay
	case all[i].ended != "":
		return ErrReplayOver
	}
	return s.audit.Write(ctx, dlq.AuditRecord{
		Actor: who.Actor, Action: dlq.ActionReplayCancel, Subject: s.replayPrefix() + id, Note: who.Note, Result: dlq.ResultDone,
	})
}
