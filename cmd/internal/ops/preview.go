package ops

import (
	"context"
	"encoding/json"
	"slices"

	"membersync/consumer/preview"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// Masked stands for a value that holds personal data.
const Masked = "***"

// A Newer says how many of the fields that an event states have a newer value: one of a newer event
// that was applied, or whose call has had no response. A redrive or a replay sends only the others.
type Newer string

// The values of a Newer. The empty text is of an event that states no fields.
const (
	NewerAll     Newer = "all"
	NewerSome    Newer = "some"
	NewerNone    Newer = "none"
	NewerUnknown Newer = "unknown" // Redis does not respond, or has lost its state
)

// A preview is what an event of a dead letter would do now.
type previewed struct {
	result mapper.Result
	newer  Newer
	fields []fieldPreview
}

type fieldPreview struct {
	name  string
	value []byte // canonical JSON; personal data
	newer bool   // a newer value is known
	// newest is the newest version that is known of the field; empty: none, or it is not known.
	newest string
}

// outcome returns what would be done: update, unchanged, ignored or rejected.
func (p previewed) outcome() (outcome, reason string) {
	switch r := p.result; {
	case r.Fault != nil:
		return "rejected", r.Fault.Error()
	case r.Event.Ignored != "":
		return "ignored", r.Event.Ignored
	case r.Event.Update.Len() == 0:
		return "unchanged", ""
	default:
		return "update", ""
	}
}

// recordOf returns the source record of a dead letter, as it was.
func recordOf(l dlq.DeadLetter) mapper.Record {
	rec := mapper.Record{
		Topic: l.Source.Topic, Partition: l.Source.Partition, Offset: l.Source.Offset, Time: l.Source.Timestamp,
		Key: l.Key, Value: l.Value, Edited: l.Edited,
	}
	for _, h := range l.Headers {
		rec.Headers = append(rec.Headers, mapper.Header{Key: h.Key, Value: h.Value})
	}
	return rec
}

// preview maps a dead letter with the current mapping, and looks up which of its fields have newer
// values. It returns the dead letter's own event, or all of them if its record failed whole. The
// error is that of Redis; everything else is returned nevertheless.
func (s *previews) preview(ctx context.Context, l dlq.DeadLetter) ([]previewed, error) {
	if l.Reason == dlq.ReasonInvalidRedrive {
		return nil, nil // it is never processed
	}
	results, err := s.mapRecord(ctx, recordOf(l))
	if err != nil {
		return nil, err
	}
	lost, _, err := s.stateLost(ctx)
	var all []previewed
	for _, res := range results {
		if !l.Whole && (res.Fault == nil || !res.Fault.Whole) && res.Event.Index != l.Index {
			continue
		}
		p := previewed{result: res}
		if outcome, _ := p.outcome(); outcome == "update" {
			for f, v := range res.Event.Update.All() {
				p.fields = append(p.fields, fieldPreview{name: f.String(), value: v.AppendJSON(nil)})
			}
			p.newer = NewerUnknown
			if err == nil && !lost {
				err = s.compare(ctx, &p)
			}
		}
		all = append(all, p)
	}
	return all, err
}

// mapRecord maps a record, with what it refers to in Redis.
func (s *previews) mapRecord(ctx context.Context, rec mapper.Record) ([]mapper.Result, error) {
	return s.guard().Map(ctx, rec, func(ctx context.Context, refs []mapper.Reference) (map[mapper.Reference]string, error) {
		if s.parts.Hashes == nil {
			return nil, nil
		}
		return s.parts.Hashes.Find(ctx, refs)
	})
}

func (s *previews) guard() preview.Guard {
	return preview.Guard{Mapper: s.parts.Mapping, Logger: s.parts.Logger}
}

// compare compares the event's version with those of the newest events applied.
func (s *previews) compare(ctx context.Context, p *previewed) error {
	names := make([]string, len(p.fields))
	for i, f := range p.fields {
		names[i] = f.name
	}
	state, err := s.parts.Store.Member(ctx, s.member(p.result.Event.OpenUserID), names)
	if err != nil {
		return err
	}
	n := 0
	for i, f := range state.Fields {
		p.fields[i].newest = f.Version
		if p.fields[i].newer = f.Version > string(p.result.Event.Version); p.fields[i].newer {
			n++
		}
	}
	switch n {
	case 0:
		p.newer = NewerNone
	case len(p.fields):
		p.newer = NewerAll
	default:
		p.newer = NewerSome
	}
	return nil
}

func (s *base) member(openUserID string) dedupe.Member {
	return dedupe.NewMember(s.cfg.CRM.BaseURL, s.cfg.CRM.CorpID, openUserID)
}

// stateLost reports whether Redis was emptied although the group has committed offsets, or was
// written under another state key, so that nothing of it is found, and whether it is the latter. A
// group marks its state before it commits its first offsets. So the marker counts as missing only
// if it is still missing once there are offsets: an instance may have started in between.
func (s *State) stateLost(ctx context.Context) (lost, otherKey bool, err error) {
	marker, err := s.parts.Store.Marker(ctx, s.cfg.Kafka.Group)
	if err != nil || marker.Exists() {
		return marker.OtherKey, marker.OtherKey, err
	}
	if known, err := s.hasOffsets(ctx); err != nil || !known {
		return false, false, err
	}
	marker, err = s.parts.Store.Marker(ctx, s.cfg.Kafka.Group)
	return !marker.Exists() || marker.OtherKey, marker.OtherKey, err
}

// stateRefusal returns why nothing may be redriven or replayed now: the state in Redis is lost, or
// was written under another key.
func (s *State) stateRefusal(ctx context.Context) error {
	lost, otherKey, err := s.stateLost(ctx)
	switch {
	case err != nil || !lost:
		return err
	case otherKey:
		return s.otherKeyRefusal(ctx)
	}
	return ErrStateLost
}

// checkKey returns why no member is found in Redis although its state is there: this process has
// another state key. Nil: it has not.
func (s *State) checkKey(ctx context.Context) error {
	if other, err := s.isOtherKey(ctx); err != nil || !other {
		return err
	}
	return s.otherKeyRefusal(ctx)
}

// otherKeyRefusal says whose state key is the wrong one.
func (s *State) otherKeyRefusal(ctx context.Context) error {
	beats, err := s.heartbeats(ctx, s.cfg.Kafka.Group)
	switch {
	case err != nil:
		return err
	case findTheState(beats):
		return ErrKeyOfNone
	}
	return ErrOtherKey
}

// findTheState reports whether an instance runs that finds the state in Redis under its key.
func findTheState(beats []dedupe.Heartbeat) bool {
	return slices.ContainsFunc(beats, func(b dedupe.Heartbeat) bool {
		return !slices.ContainsFunc(b.Causes, func(c dedupe.PauseCause) bool { return c.Cause == string(StatusStateKey) })
	})
}

// A Preview is what an event of a dead letter would do now, as JSON shows it.
type Preview struct {
	Outcome     string                     `json:"outcome"`
	Reason      string                     `json:"reason"`
	Index       int                        `json:"index"`
	EmployeeID  string                     `json:"employee_id"`
	EventID     string                     `json:"event_id"`
	Version     string                     `json:"version"`
	User        map[string]json.RawMessage `json:"user"`
	Newer       Newer                      `json:"newer_values"`
	NewerFields []string                   `json:"newer_fields"` // have a newer value, so they would not be sent

	// Newest are the fields for which a version is known, with the newest one.
	Newest map[string]FieldState `json:"-"`
}

func (p previewed) shown(reveal bool) Preview {
	outcome, reason := p.outcome()
	ev := p.result.Event
	n := Preview{
		Outcome: outcome, Reason: reason, Index: ev.Index, EmployeeID: ev.EmployeeID, EventID: ev.ID,
		Version: string(ev.Version), Newer: p.newer, NewerFields: []string{},
	}
	if outcome != "update" {
		return n
	}
	openUserID, _ := json.Marshal(ev.OpenUserID) //nolint:errchkjson // a text
	n.User = map[string]json.RawMessage{"openUserId": openUserID}
	n.Newest = map[string]FieldState{}
	for _, f := range p.fields {
		n.User[f.name] = json.RawMessage(`"` + Masked + `"`)
		if reveal {
			n.User[f.name] = f.value
		}
		if f.newest != "" {
			n.Newest[f.name] = FieldState{Name: f.name, Version: f.newest}
		}
		if f.newer {
			n.NewerFields = append(n.NewerFields, f.name)
		}
	}
	return n
}
