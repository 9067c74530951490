package ops

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"membersync/dlq/partlog"
	"membersync/mapper"
)

// A Trial is how a record would be mapped. It holds the record's values.
type Trial struct {
	Explanations []mapper.Explanation
	found        map[mapper.Reference]string // in the lookups of Redis
}

// TryMapping returns how a record would be mapped, by a mapping file or, if that is empty, by the
// running mapping. A file may use the lookups of the running mapping, by their names, and no
// others. No file is read. The faults of a file are a [mapper.ParseError].
func (s *DeadLetters) TryMapping(ctx context.Context, file string, rec mapper.Record) (t Trial, err error) {
	mapping := s.parts.Mapping.Now()
	if file != "" {
		if mapping, err = s.parts.Mapping.Try(file); err != nil {
			return t, err
		}
	}
	guard := s.guard()
	guard.Mapper = mapping
	var refs []mapper.Reference
	fault := guard.Do(ctx, rec, func() { refs = mapping.References(rec) })
	if fault != nil {
		t.Explanations = rejectedBy(fault)
		return t, nil
	}
	if s.parts.Hashes != nil && len(refs) > 0 {
		if t.found, err = s.parts.Hashes.Find(ctx, refs); err != nil {
			return t, err
		}
	}
	if fault = guard.Do(ctx, rec, func() { t.Explanations = mapping.Explain(rec, t.found) }); fault != nil {
		t.Explanations = rejectedBy(fault)
	}
	return t, nil
}

// rejectedBy is the explanation of a record that the mapper cannot map.
func rejectedBy(fault *mapper.Fault) []mapper.Explanation {
	return []mapper.Explanation{{Result: mapper.Result{Fault: fault}}}
}

// Lookups returns the names of the running mapping's lookups.
func (s *DeadLetters) Lookups() []string {
	var names []string
	for _, l := range s.parts.Mapping.Now().Lookups() {
		names = append(names, l.Name)
	}
	return names
}

// A SourceRecord is a record of the source topic.
type SourceRecord struct {
	Place  Place
	At     Time
	Bytes  int    // of its value
	Masked []byte // its value as JSON without personal data; nil: it cannot be read as an event

	value []byte // personal data
	key   []byte
	rest  mapper.Record
}

// Record returns the record with its values, for the mapping.
func (r SourceRecord) Record() mapper.Record {
	rec := r.rest
	rec.Key, rec.Value = r.key, r.value
	return rec
}

// LatestRecords returns the latest records of the source topic, at most n, the latest first. It
// leaves out those that are too large to be read.
func (s *DeadLetters) LatestRecords(ctx context.Context, n int) ([]SourceRecord, error) {
	ranges, err := s.ranges(ctx, s.cfg.Kafka.Topic)
	if err != nil {
		return nil, err
	}
	var (
		all    sync.WaitGroup
		mu     sync.Mutex
		found  []SourceRecord
		faults []error
		slots  = make(chan struct{}, readAtOnce)
	)
	for partition, within := range ranges {
		within.First = max(within.First, within.End-int64(n))
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			read, err := s.sourceRecords(ctx, partition, within)
			mu.Lock()
			defer mu.Unlock()
			faults = append(faults, err)
			found = append(found, read...)
			slices.SortStableFunc(found, func(a, b SourceRecord) int { return b.At.Compare(a.At.Time) })
			found = slices.Clone(found[:min(n, len(found))])
		})
	}
	all.Wait()
	for i := range found {
		rec := found[i].Record()
		_ = s.guard().Do(ctx, rec, func() { found[i].Masked = s.parts.Mapping.Now().Mask(rec) }) // nothing is shown then
	}
	return found, errors.Join(faults...)
}

// readAtOnce is how many partitions are read in parallel.
const readAtOnce = 8

func (s *DeadLetters) sourceRecords(ctx context.Context, partition int, within partlog.Range) (found []SourceRecord, err error) {
	topic := s.cfg.Kafka.Topic
	_, err = s.log().Read(ctx, topic, partition, within, func(rec *partlog.Record) error {
		if rec.Rejection != nil {
			return nil
		}
		in, err := sourceRecord(topic, rec)
		if err != nil {
			return err
		}
		one := SourceRecord{
			Place: Place{in.Partition, in.Offset}, At: Time{in.Time}, Bytes: len(in.Value),
			value: bytes.Clone(in.Value), key: bytes.Clone(in.Key), rest: in,
		}
		if in.Value == nil {
			one.value = nil
		}
		one.rest.Key, one.rest.Value = nil, nil
		found = append(found, one)
		return nil
	})
	return found, err
}

// ErrNoRecord is returned for a place at which the source topic has no record that can be read.
var ErrNoRecord = &RefusedError{"the source topic has no record at this place that can be read"}

// SourceRecord returns the record at partition:offset of the source topic.
func (s *DeadLetters) SourceRecord(ctx context.Context, place string) (r SourceRecord, err error) {
	partition, offset, ok := parsePlace(place)
	if !ok {
		return r, ErrNoRecord
	}
	ranges, err := s.ranges(ctx, s.cfg.Kafka.Topic)
	if err != nil {
		return r, err
	}
	if within, ok := ranges[partition]; !ok || offset < within.First || offset >= within.End {
		return r, ErrNoRecord
	}
	found, err := s.sourceRecords(ctx, partition, partlog.Range{First: offset, End: offset + 1})
	if err == nil && len(found) == 0 {
		err = ErrNoRecord
	}
	if err != nil {
		return r, err
	}
	return found[0], nil
}

// RevealRecord records who looks at the values of a record of the source topic, and why. Nothing of
// it may be shown before it has returned nil.
func (s *DeadLetters) RevealRecord(ctx context.Context, r SourceRecord, who Who) error {
	subject := fmt.Sprintf("%s %d:%d", s.cfg.Kafka.Topic, r.Place.Partition, r.Place.Offset)
	return RecordReveal(ctx, s.audit, subject, who)
}

// Masked returns the explanations without values: what stands in a record, and what becomes of it.
// The ids stay.
func (t Trial) Masked() []mapper.Explanation {
	mask := func(all []mapper.Explained) (masked []mapper.Explained) {
		for _, e := range all {
			if e.Raw != "" {
				e.Raw = Masked
			}
			if e.Value != "" && e.Name != "event_id" && e.Name != "employee_id" {
				e.Value = Masked
			}
			e.Steps = slices.Clone(e.Steps)
			for i := range e.Steps {
				if e.Steps[i].Result != "" {
					e.Steps[i].Result = Masked
				}
			}
			masked = append(masked, e)
		}
		return masked
	}
	out := slices.Clone(t.Explanations)
	for i := range out {
		out[i].Parts, out[i].Fields = mask(out[i].Parts), mask(out[i].Fields)
	}
	return out
}

// The example of a mapping file, as its documentation describes it.
type exampleYAML struct {
	Name      string                       `yaml:"name"`
	Key       string                       `yaml:"key,omitempty"`
	Value     string                       `yaml:"value,omitempty"`
	Base64    string                       `yaml:"base64,omitempty"`
	NoValue   bool                         `yaml:"no_value,omitempty"`
	Headers   map[string]string            `yaml:"headers,omitempty"`
	Timestamp string                       `yaml:"timestamp"`
	Lookups   map[string]map[string]string `yaml:"lookups,omitempty"`
	Out       []expectedYAML               `yaml:"out"`
}

type expectedYAML struct {
	Outcome    string         `yaml:"outcome"`
	Reason     string         `yaml:"reason,omitempty"`
	EventID    string         `yaml:"event_id,omitempty"`
	EmployeeID string         `yaml:"employee_id,omitempty"`
	User       map[string]any `yaml:"user,omitempty"`
}

// Example returns the trial as an entry under examples: of a mapping file, in YAML. It holds the
// record's values. Entries of lookups in files are not in it.
func (t Trial) Example(rec mapper.Record) (string, error) {
	e := exampleYAML{Name: "from a record", Key: string(rec.Key), Timestamp: rec.Time.UTC().Format(time.RFC3339Nano)}
	switch {
	case rec.Value == nil:
		e.NoValue = true
	case utf8.Valid(rec.Value):
		e.Value = strings.ReplaceAll(string(rec.Value), "\r\n", "\n")
	default:
		e.Base64 = base64.StdEncoding.EncodeToString(rec.Value)
	}
	for _, h := range rec.Headers {
		if utf8.Valid(h.Value) {
			if e.Headers == nil {
				e.Headers = map[string]string{}
			}
			e.Headers[h.Key] = string(h.Value)
		}
	}
	for ref, value := range t.found {
		if e.Lookups == nil {
			e.Lookups = map[string]map[string]string{}
		}
		if e.Lookups[ref.Lookup] == nil {
			e.Lookups[ref.Lookup] = map[string]string{}
		}
		e.Lookups[ref.Lookup][ref.Key] = value
	}
	for _, x := range t.Explanations {
		out := expectedYAML{EventID: x.Result.Event.ID, EmployeeID: x.Result.Event.EmployeeID}
		if out.Outcome, out.Reason = (previewed{result: x.Result}).outcome(); x.Result.Fault != nil {
			out.Reason = string(x.Result.Fault.Reason)
		}
		if out.Outcome == "update" {
			if err := json.Unmarshal(x.Result.Event.Update.AppendJSON(nil), &out.User); err != nil {
				return "", err
			}
			out.User["openUserId"] = x.Result.Event.OpenUserID
		}
		e.Out = append(e.Out, out)
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode([]exampleYAML{e}), enc.Close()); err != nil {
		return "", err
	}
	return b.String(), nil
}
