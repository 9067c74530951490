package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// What is read of the source topic at a time.
const (
	pageBytes = 1 << 20
	pageWait  = 500 * time.Millisecond
)

// A sighting is an event of one employee in the source topic.
type sighting struct {
	Partition int
	Offset    int64
	Time      time.Time
	Result    mapper.Result
}

// isAlso reports whether both are the same event of the same record.
func (s sighting) isAlso(o sighting) bool {
	return s.Partition == o.Partition && s.Offset == o.Offset && s.Result.Event.Index == o.Result.Event.Index
}

// isOf reports whether a dead letter is this event's, or that of its whole record.
func (s sighting) isOf(l dlq.DeadLetter) bool {
	return l.Reason != dlq.ReasonInvalidRedrive && s.Partition == l.Source.Partition && s.Offset == l.Source.Offset &&
		s.Time.UnixMilli() == l.Source.Timestamp.UnixMilli() && (l.Whole || s.Result.Event.Index == l.Index)
}

// maxSightings bounds what is kept of one employee's events: the latest.
const maxSightings = 10_000

var errNoEvents = errors.New("the source topic holds no event of this employee; --open-user-id names the member directly")

// eventsOf finds an employee's events in the spans of the source topic, in the order of time. Of more than 10,000 in a
// partition the first are dropped.
func (d *desk) eventsOf(ctx context.Context, employee string, spans map[int]partlog.Range) ([]sighting, error) {
	log := partlog.New(d.parts.Kafka, pageBytes, pageWait)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		found = map[int][]sighting{}
		lost  error
	)
	for partition, span := range spans {
		all.Go(func() {
			var mine []sighting
			_, err := log.Read(ctx, d.cfg.Kafka.Topic, partition, span, func(rec *partlog.Record) error {
				seen, err := d.sight(ctx, employee, rec)
				mine = append(mine, seen...)
				if len(mine) > 2*maxSightings {
					mine = append([]sighting(nil), mine[len(mine)-maxSightings:]...)
				}
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			found[partition] = mine
			if err != nil && lost == nil {
				lost = err
				cancel(err)
			}
		})
	}
	all.Wait()
	if lost != nil {
		return nil, fmt.Errorf("reading %s: %w", d.cfg.Kafka.Topic, lost)
	}
	return inOrder(found), nil
}

func inOrder(found map[int][]sighting) []sighting {
	var all []sighting
	for partition := range len(found) {
		all = append(all, found[partition]...)
	}
	slices.SortStableFunc(all, func(a, b sighting) int { return a.Time.Compare(b.Time) })
	return all
}

// sight maps a record if it may be about the employee, and keeps what it says of it.
func (d *desk) sight(ctx context.Context, employee string, rec *partlog.Record) ([]sighting, error) {
	if rec.Rejection != nil { // it was not read by the service either
		return nil, nil
	}
	key, err := rec.Key()
	if err != nil {
		return nil, err
	}
	value, err := rec.Value()
	if err != nil {
		return nil, err
	}
	if string(key) != employee && isPlain(employee) && !bytes.Contains(value, []byte(employee)) && bytes.IndexByte(value, '\\') < 0 {
		return nil, nil
	}
	in := mapper.Record{
		Topic: d.cfg.Kafka.Topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Time, Key: key, Value: value,
		Headers: mapperHeaders(rec.Headers),
	}
	results, err := d.translate(ctx, in)
	if err != nil {
		return nil, err
	}
	var seen []sighting
	for _, res := range results {
		if res.Event.EmployeeID == employee || res.Fault != nil && res.Fault.Whole && string(key) == employee {
			seen = append(seen, sighting{rec.Partition, rec.Offset, rec.Time, res})
		}
	}
	return seen, nil
}

func mapperHeaders(headers []kafka.Header) []mapper.Header {
	out := make([]mapper.Header, 0, len(headers))
	for _, h := range headers {
		out = append(out, mapper.Header{Key: h.Key, Value: h.Value})
	}
	return out
}

// isPlain reports whether an id stands in JSON as it is, unless it is escaped on purpose.
func isPlain(id string) bool {
	return !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
}

// spans returns what the source topic holds now.
func (d *desk) spans(ctx context.Context, topic string) (map[int]partlog.Range, error) {
	spans, err := partlog.New(d.parts.Kafka, pageBytes, pageWait).Ranges(ctx, topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return nil, &dlq.MissingTopicError{Topic: topic}
	}
	return spans, err
}

// identify tells member and event id as the service does.
func (d *desk) identify(s sighting) (dedupe.Member, dedupe.EventID) {
	rec := mapper.Record{Topic: d.cfg.Kafka.Topic, Partition: s.Partition, Offset: s.Offset, Time: s.Time}
	return preview.Identify(d.cfg.CRM.BaseURL, d.cfg.CRM.CorpID, rec, s.Result)
}

func (d *desk) eventID(s sighting) dedupe.EventID {
	_, id := d.identify(s)
	return id
}

func (d *desk) memberOf(s sighting) dedupe.Member {
	member, _ := d.identify(s)
	return member
}
