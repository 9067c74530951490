package ops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer/preview"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/partlog"
	"membersync/mapper"
)

// What is read of a topic at a time.
const (
	pageBytes = 1 << 20
	pageWait  = 500 * time.Millisecond
)

// An occurrence is an event of one employee in the source topic.
type occurrence struct {
	partition int
	offset    int64
	time      time.Time
	result    mapper.Result
}

// isAlso reports whether both are the same event of the same record.
func (o occurrence) isAlso(other occurrence) bool {
	return o.partition == other.partition && o.offset == other.offset && o.result.Event.Index == other.result.Event.Index
}

// isOf reports whether a dead letter is of this event, or of its whole record.
func (o occurrence) isOf(l dlq.DeadLetter) bool {
	return l.Reason != dlq.ReasonInvalidRedrive && o.partition == l.Source.Partition && o.offset == l.Source.Offset &&
		o.time.UnixMilli() == l.Source.Timestamp.UnixMilli() && (l.Whole || o.result.Event.Index == l.Index)
}

// maxOccurrences bounds what is kept of one employee's events in a partition: the latest.
const maxOccurrences = 10_000

var errNoEvents = errors.New("the source topic holds no event of this employee; --open-user-id names the member directly")

// eventsOf finds an employee's events in ranges of the source topic, in the order of time.
func (s *Members) eventsOf(ctx context.Context, employee string, ranges map[int]partlog.Range) ([]occurrence, error) {
	all, err := s.eventsOfAll(ctx, map[string]bool{employee: true}, ranges)
	return all[employee], err
}

// eventsOfAll finds the events of several employees in ranges of the source topic, of each in the
// order of time. Of more than 10,000 of one employee in a partition the first are dropped.
func (s *Members) eventsOfAll(ctx context.Context, wanted map[string]bool, ranges map[int]partlog.Range) (map[string][]occurrence, error) {
	log := s.log()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		found = map[string]map[int][]occurrence{}
		first error
	)
	for partition, r := range ranges {
		all.Go(func() {
			mine := map[string][]occurrence{}
			_, err := log.Read(ctx, s.cfg.Kafka.Topic, partition, r, func(rec *partlog.Record) error {
				return s.addOccurrences(ctx, mine, wanted, rec)
			})
			mu.Lock()
			defer mu.Unlock()
			for employee, events := range mine {
				if found[employee] == nil {
					found[employee] = map[int][]occurrence{}
				}
				found[employee][partition] = events
			}
			if err != nil && first == nil {
				first = err
				cancel(err)
			}
		})
	}
	all.Wait()
	if first != nil {
		return nil, fmt.Errorf("reading %s: %w", s.cfg.Kafka.Topic, first)
	}
	sorted := make(map[string][]occurrence, len(found))
	for employee, byPartition := range found {
		sorted[employee] = inOrder(byPartition)
	}
	return sorted, nil
}

func inOrder(found map[int][]occurrence) []occurrence {
	var all []occurrence
	for _, partition := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[partition]...)
	}
	slices.SortStableFunc(all, func(a, b occurrence) int { return a.time.Compare(b.time) })
	return all
}

// addOccurrences maps a record if it may be about one of the employees, and adds those of its
// events that are.
func (s *Members) addOccurrences(ctx context.Context, to map[string][]occurrence, wanted map[string]bool, rec *partlog.Record) error {
	if rec.Rejection != nil { // it was not read by the service either
		return nil
	}
	in, err := sourceRecord(s.cfg.Kafka.Topic, rec)
	if err != nil || !mayBeOf(in, wanted) {
		return err
	}
	results, err := s.mapRecord(ctx, in)
	if err != nil {
		return err
	}
	for _, res := range results {
		employee := res.Event.EmployeeID
		if !wanted[employee] && res.Fault != nil && res.Fault.Whole {
			employee = string(in.Key)
		}
		if !wanted[employee] {
			continue
		}
		to[employee] = append(to[employee], occurrence{rec.Partition, rec.Offset, rec.Time, res})
		if n := len(to[employee]); n > 2*maxOccurrences {
			to[employee] = append([]occurrence(nil), to[employee][n-maxOccurrences:]...)
		}
	}
	return nil
}

// mayBeOf reports whether a record can be about one of the employees, which is cheap to find out
// for one of them.
func mayBeOf(rec mapper.Record, wanted map[string]bool) bool {
	if len(wanted) > 1 || wanted[string(rec.Key)] || bytes.IndexByte(rec.Value, '\\') >= 0 {
		return true
	}
	for employee := range wanted {
		if !isPlain(employee) || bytes.Contains(rec.Value, []byte(employee)) {
			return true
		}
	}
	return false
}

// sourceRecord returns a record as the mapping takes it.
func sourceRecord(topic string, rec *partlog.Record) (mapper.Record, error) {
	key, err := rec.Key()
	if err != nil {
		return mapper.Record{}, err
	}
	value, err := rec.Value()
	in := mapper.Record{Topic: topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Time, Key: key, Value: value}
	for _, h := range rec.Headers {
		in.Headers = append(in.Headers, mapper.Header{Key: h.Key, Value: h.Value})
	}
	return in, err
}

// isPlain reports whether JSON holds an id as it is, unless it is escaped on purpose.
func isPlain(id string) bool {
	return !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
}

func (s *base) log() *partlog.Log { return partlog.New(s.parts.Kafka, pageBytes, pageWait) }

// ranges returns what a topic holds now, by partition.
func (s *GroupOffsets) ranges(ctx context.Context, topic string) (map[int]partlog.Range, error) {
	ranges, err := s.log().Ranges(ctx, topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return nil, &dlq.MissingTopicError{Topic: topic}
	}
	return ranges, err
}

// rangesSince returns what the source topic holds from a time on; the zero time: all of it.
func (s *GroupOffsets) rangesSince(ctx context.Context, since time.Time) (map[int]partlog.Range, error) {
	ranges, err := s.ranges(ctx, s.cfg.Kafka.Topic)
	if err != nil || since.IsZero() {
		return ranges, err
	}
	from, err := s.log().Since(ctx, s.cfg.Kafka.Topic, since)
	if err != nil {
		return nil, err
	}
	for p, r := range ranges {
		first, ok := from[p]
		if !ok {
			first = r.End
		}
		ranges[p] = partlog.Range{First: max(first, r.First), End: r.End}
	}
	return ranges, nil
}

// identify returns member and event id as the service does.
func (s *previews) identify(o occurrence) (dedupe.Member, dedupe.EventID) {
	rec := mapper.Record{Topic: s.cfg.Kafka.Topic, Partition: o.partition, Offset: o.offset, Time: o.time}
	return preview.Identify(s.cfg.CRM.BaseURL, s.cfg.CRM.CorpID, rec, o.result)
}

// isMissingTopic reports whether an error is that a topic does not exist.
func isMissingTopic(err error) bool {
	_, missing := errors.AsType[*dlq.MissingTopicError](err)
	return missing
}
