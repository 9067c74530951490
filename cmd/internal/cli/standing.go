package cli

import (
	"context"

	"membersync/consumer/preview"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// How much of an event newer ones have overtaken.
const (
	overtakenFully   = "fully"
	overtakenPartly  = "partly"
	overtakenNot     = "not"
	overtakenUnknown = "unknown" // Redis does not answer, or has lost its state
)

// A standing is what an event of a dead letter would do now.
type standing struct {
	result    mapper.Result
	overtaken string // empty: it states nothing, so there is nothing to overtake
	fields    []fieldStanding
}

type fieldStanding struct {
	name      string
	value     []byte // canonical JSON; personal data
	overtaken bool
	newest    string // version of the newest event that was applied
}

// outcome is what would be done: update, unchanged, ignored or rejected.
func (s standing) outcome() (outcome, reason string) {
	switch r := s.result; {
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

// recordOf is the source record of a dead letter, as it was.
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

// standings maps a letter by the mapping of now, and looks up what newer events have overtaken. Of a record that failed
// whole it tells all events, otherwise the letter's own. The error is that of Redis; then all else is there.
func (d *desk) standings(ctx context.Context, l dlq.DeadLetter) ([]standing, error) {
	if l.Reason == dlq.ReasonInvalidRedrive {
		return nil, nil // it is never run
	}
	results, err := d.translate(ctx, recordOf(l))
	if err != nil {
		return nil, err
	}
	lost, err := d.stateLost(ctx)
	var all []standing
	for _, res := range results {
		if !l.Whole && (res.Fault == nil || !res.Fault.Whole) && res.Event.Index != l.Index {
			continue
		}
		s := standing{result: res}
		if outcome, _ := s.outcome(); outcome == "update" {
			for f, v := range res.Event.Update.All() {
				s.fields = append(s.fields, fieldStanding{name: f.String(), value: v.AppendJSON(nil)})
			}
			s.overtaken = overtakenUnknown
			if err == nil && !lost {
				err = d.lookUp(ctx, &s)
			}
		}
		all = append(all, s)
	}
	return all, err
}

// translate maps a record, with what it refers to in Redis.
func (d *desk) translate(ctx context.Context, rec mapper.Record) ([]mapper.Result, error) {
	return d.guard().Map(ctx, rec, func(ctx context.Context, refs []mapper.Reference) (map[mapper.Reference]string, error) {
		if d.parts.Hashes == nil {
			return nil, nil
		}
		return d.parts.Hashes.Find(ctx, refs)
	})
}

func (d *desk) guard() preview.Guard {
	return preview.Guard{Mapper: d.parts.Mapping, Logger: d.parts.Logger}
}

// lookUp compares the event's version with those of the newest events applied.
func (d *desk) lookUp(ctx context.Context, s *standing) error {
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	state, err := d.parts.Store.Member(ctx, d.member(s.result.Event.OpenUserID), names)
	if err != nil {
		return err
	}
	n := 0
	for i, f := range state.Fields {
		s.fields[i].newest = f.Version
		if s.fields[i].overtaken = f.Version > string(s.result.Event.Version); s.fields[i].overtaken {
			n++
		}
	}
	switch n {
	case 0:
		s.overtaken = overtakenNot
	case len(s.fields):
		s.overtaken = overtakenFully
	default:
		s.overtaken = overtakenPartly
	}
	return nil
}

func (d *desk) member(openUserID string) dedupe.Member {
	return dedupe.NewMember(d.cfg.CRM.BaseURL, d.cfg.CRM.CorpID, openUserID)
}

// stateLost reports whether Redis was emptied although the group has committed offsets, or was
// written under another state key, so that nothing of it is found.
func (d *desk) stateLost(ctx context.Context) (bool, error) {
	marker, err := d.parts.Store.Marker(ctx, d.cfg.Kafka.Group)
	if err != nil || marker.Exists() {
		return marker.OtherKey, err
	}
	return d.hasOffsets(ctx)
}

// stateRefusal is why nothing is to be redriven or replayed now: the state in Redis is lost, or of another key.
func (d *desk) stateRefusal(ctx context.Context) error {
	lost, err := d.stateLost(ctx)
	if err != nil || !lost {
		return err
	}
	other, err := d.isOtherKey(ctx)
	switch {
	case err != nil:
		return err
	case other:
		return errOtherKey
	}
	return errStateLost
}

// isOtherKey reports whether the state in Redis was written under another state key.
func (d *desk) isOtherKey(ctx context.Context) (bool, error) {
	marker, err := d.parts.Store.Marker(ctx, d.cfg.Kafka.Group)
	return marker.OtherKey, err
}
