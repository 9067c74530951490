package ops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"membersync/consumer"
	"membersync/consumer/preview"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// A Cause is why the CRM shows what it shows for an employee.
type Cause string

// The causes. Those of a pause have the names of the metric membersync_paused.
const (
	CauseStateLost         Cause = "state_lost"
	CauseNoEvents          Cause = "no_events"
	CauseIgnored           Cause = "ignored"
	CauseHeld              Cause = "held"
	CauseRedriving         Cause = "redriving"
	CauseDeadLettered      Cause = "dead_lettered"
	CauseDiscarded         Cause = "discarded"
	CauseDeadLetterExpired Cause = "dead_letter_expired"
	CauseUnacknowledged    Cause = "unacknowledged"
	CauseInFlight          Cause = "in_flight"
	CauseNoInstance        Cause = "no_instance"
	CauseOutage            Cause = "crm_outage"
	CauseThrottled         Cause = "crm_throttled"
	CauseQuota             Cause = "crm_quota"
	CauseRefused           Cause = "crm_refused"
	CauseRedis             Cause = "redis"
	CauseKafka             Cause = "kafka"
	CauseDLQ               Cause = "dlq"
	CauseStorm             Cause = "storm"
	CauseStateKey          Cause = "state_key"
	CauseControl           Cause = "control"
	CauseOperator          Cause = "operator"
	CauseLagging           Cause = "lagging"
	CauseForgotten         Cause = "forgotten"
	CauseSuperseded        Cause = "superseded"
	CauseUnchanged         Cause = "unchanged"
	CauseEarlierDeadLetter Cause = "earlier_dead_letter"
	CauseRedriven          Cause = "redriven"
	CauseApplied           Cause = "applied"
)

// Causes returns all causes.
func Causes() []Cause {
	return []Cause{
		CauseStateLost, CauseNoEvents, CauseIgnored, CauseHeld, CauseRedriving, CauseDeadLettered, CauseDiscarded,
		CauseDeadLetterExpired, CauseUnacknowledged, CauseInFlight, CauseNoInstance,
		CauseOutage, CauseThrottled, CauseQuota, CauseRefused, CauseRedis, CauseKafka, CauseDLQ, CauseStorm, CauseStateKey,
		CauseControl, CauseOperator,
		CauseLagging, CauseForgotten, CauseSuperseded, CauseUnchanged, CauseEarlierDeadLetter, CauseRedriven, CauseApplied,
	}
}

// Evidence is what a cause is decided from, and what its sentence names.
type Evidence struct {
	Employee   string
	Latest     *Latest   // the employee's latest event in the range; nil: none
	DeadLetter *dlq.Item // of the latest event; nil: none
	Earlier    *dlq.Item // the oldest open dead letter of an earlier event; nil: none
	Pending    []string  // fields of which a newer value may have reached the CRM without a response
	Behind     int64     // records between the committed offset and the event
	Paused     *Pause    // by an operator; nil: no
	Causes     []dedupe.PauseCause

	stateLost bool
	otherKey  bool              // the state is there, but was written under another state key
	done      dedupe.EventGrant // of the latest event
	leased    bool
	committed int64 // of the latest event's partition
	storm     bool  // a running instance holds rejected events
	instances int
}

// Latest names the latest event of an employee.
type Latest struct {
	EventID   string // may be empty
	Partition int
	Offset    int64
	Time      time.Time
	Ignored   string // the rule of the mapping that ignores it
	Reason    string // why it is rejected; empty: it is not, as far as is known
	Code      string // errorCode of the rejection, if it is the CRM's
	Outcome   string // that was recorded; empty: none
	Repeats   string // partition:offset of the first record with this event; empty: this is the first
}

// An Explanation is what explain shows.
type Explanation struct {
	Member
	DeadLetters []DeadLetter `json:"dead_letters"`
	Next        []Next       `json:"next"`
	Cause       Cause        `json:"cause"`
	Sentence    string       `json:"sentence"` // made by the caller, from the evidence

	Evidence Evidence   `json:"-"`
	Index    *dlq.Index `json:"-"` // nil: there is no dead-letter topic
}

// Next says what a redrive of a dead letter would do, or that one is under way.
type Next struct {
	ID   string `json:"id"`
	What string `json:"what"`
}

// Explain finds out why the CRM shows what it shows for an employee, from the records since a time
// (the zero time: all).
func (s *Members) Explain(ctx context.Context, subject Subject, since time.Time) (Explanation, error) {
	x, err := s.explain(ctx, subject, since)
	// The marks are read before the offsets. An event that ends in between is committed and has no
	// mark, as one whose mark is gone. A second look tells them apart.
	if err == nil && x.Cause == CauseForgotten {
		return s.explain(ctx, subject, since)
	}
	return x, err
}

func (s *Members) explain(ctx context.Context, subject Subject, since time.Time) (Explanation, error) {
	ranges, err := s.rangesSince(ctx, since)
	if err != nil {
		return Explanation{}, err
	}
	m, err := s.lookUp(ctx, subject, ranges)
	if err != nil && !errors.Is(err, errNoEvents) {
		return Explanation{}, err
	}
	items, index, err := s.deadLettersOf(ctx, subject.Employee, m.unread())
	if err != nil {
		return Explanation{}, err
	}
	e, err := s.evidence(ctx, subject.Employee, m, items)
	if err != nil {
		return Explanation{}, err
	}
	x := Explanation{Member: m.shown(subject.Employee), DeadLetters: []DeadLetter{}, Next: []Next{}, Evidence: e, Index: index}
	for i, first := range m.originals() {
		if first != i {
			x.Events[i].Outcome = string(consumer.Duplicate)
		}
	}
	s.previewReplays(m, x.Events, index, e.stateLost)
	for _, i := range items {
		x.DeadLetters = append(x.DeadLetters, NewDeadLetter(i))
		if what := s.next(ctx, i, e.stateLost); what != "" {
			x.Next = append(x.Next, Next{i.ID, what})
		}
	}
	x.Cause = e.cause()
	return x, nil
}

// ShortEvidence returns the evidence with the ids of dead letters in the form of tables.
func (x Explanation) ShortEvidence() Evidence {
	e := x.Evidence
	for _, item := range []**dlq.Item{&e.DeadLetter, &e.Earlier} {
		if *item != nil && x.Index != nil {
			short := **item
			short.ID = x.Index.ShortID(short.ID)
			*item = &short
		}
	}
	return e
}

// originals returns for each event the index of the one that it is a duplicate of: the first with
// the same identity. Where there is none, and where the event has no outcome, it is its own.
func (m memberState) originals() []int {
	firsts := make(map[dedupe.EventID]int, len(m.ids))
	for i, id := range m.ids {
		if first, ok := firsts[id]; !ok || m.events[i].isBefore(m.events[first]) {
			firsts[id] = i
		}
	}
	originals := make([]int, len(m.ids))
	for i, id := range m.ids {
		originals[i] = i
		if m.done[i].Done && m.events[i].result.Event.Ignored == "" {
			originals[i] = firsts[id]
		}
	}
	return originals
}

// isBefore reports whether the service has read an event before another one: by offset in the same
// partition, otherwise probably by time.
func (o occurrence) isBefore(other occurrence) bool {
	if o.partition == other.partition {
		return o.offset < other.offset
	}
	return o.time.Before(other.time)
}

// previewReplays adds to each event its outcome in a replay. The index is nil without a dead-letter
// topic.
func (s *Members) previewReplays(m memberState, events []EventState, index *dlq.Index, lost bool) {
	versions := versionsOf(m.state)
	for i, e := range m.events {
		replay, reapply := OutcomeRefused, OutcomeRefused
		rec := mapper.Record{Topic: s.cfg.Kafka.Topic, Partition: e.partition, Offset: e.offset, Time: e.time}
		skipped := index != nil && index.ReplaySkips(preview.DeliveryOf(s.cfg.Kafka.Topic, preview.Redrive{Record: rec}, e.result))
		failed := m.done[i].Done && m.done[i].Outcome == string(consumer.DeadLettered)
		switch p := newPlanned(m.ids[i], e.result); {
		case e.result.Event.Ignored != "":
			replay, reapply = OutcomeIgnored, OutcomeIgnored
		case !lost:
			replay, reapply = p.outcome(skipped || m.done[i].Done, versions), p.outcome(skipped || failed, versions)
		}
		events[i].Replay, events[i].Reapply = replay, reapply
	}
}

// next says what a redrive of a dead letter would do; empty: it needs none.
func (s *Members) next(ctx context.Context, i dlq.Item, lost bool) string {
	switch {
	case i.State == dlq.StateRedriving:
		return fmt.Sprintf("under way since %s, as redrive %d", i.RequestedAt.UTC().Format(time.RFC3339), i.Number)
	case i.State != dlq.StateOpen:
		return ""
	case lost:
		return ErrStateLost.Error()
	}
	return describe(s.preview(ctx, i.DeadLetter))
}

// maxExplained bounds the dead letters that are explained: the latest.
const maxExplained = 50

// unread returns the ids that the dead letters of records that could not be read have, if there are
// any: these name no employee.
func (m memberState) unread() (ids []string) {
	for _, e := range m.events {
		if f := e.result.Fault; f != nil && f.Whole {
			ids = append(ids, dlq.DeadLetter{Source: dlq.Source{Partition: e.partition, Offset: e.offset, Timestamp: e.time}, Whole: true}.ID())
		}
	}
	return ids
}

// deadLettersOf returns the dead letters of an employee, and those of these ids, by time. The index
// is that of the whole topic.
func (s *Members) deadLettersOf(ctx context.Context, employee string, ids []string) ([]dlq.Item, *dlq.Index, error) {
	items, index, err := s.deadLettersBy(ctx, dlq.Query{Employee: employee})
	if err != nil || len(ids) == 0 {
		return items, index, err
	}
	unread, _, err := s.deadLettersBy(ctx, dlq.Query{IDs: ids})
	for _, i := range unread {
		if i.DeadLetter.EmployeeID != employee { // otherwise it is among the others
			items = append(items, i)
		}
	}
	slices.SortStableFunc(items, func(a, b dlq.Item) int { return a.DeadLetter.FailedAt.Compare(b.DeadLetter.FailedAt) })
	return items, index, err
}

func (s *Members) deadLettersBy(ctx context.Context, q dlq.Query) ([]dlq.Item, *dlq.Index, error) {
	index, err := s.Index(ctx, q, nil)
	if isMissingTopic(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var items []dlq.Item
	for i, err := range s.reader.Items(ctx, index, maxExplained, true) {
		if err != nil && i.ID == "" {
			return nil, nil, err
		}
		if err == nil {
			items = append(items, i)
		}
	}
	return items, index, nil
}

// evidence gathers what the cause is decided from.
func (s *Members) evidence(ctx context.Context, employee string, m memberState, items []dlq.Item) (e Evidence, err error) {
	e = Evidence{Employee: employee, leased: m.state.Leased}
	if e.stateLost, e.otherKey, err = s.stateLost(ctx); err != nil {
		return e, err
	}
	beats, err := s.control.Heartbeats(ctx)
	if err == nil && e.otherKey && findTheState(beats) {
		err = ErrKeyOfNone
	}
	if err != nil {
		return e, err
	}
	for _, f := range m.state.Fields {
		if f.Pending != "" {
			e.Pending = append(e.Pending, f.Name)
		}
	}
	latest := newest(m.events)
	if e.Paused, err = s.control.Paused(ctx); err != nil || latest == nil {
		return e, err
	}
	e.addEvent(*latest, m, items)
	e.Causes = causesOf(beats)
	if e.Paused == nil { // Redis knows of a resume before the instances do
		e.Causes = slices.DeleteFunc(e.Causes, func(c dedupe.PauseCause) bool { return c.Cause == string(CauseOperator) })
	}
	e.storm = slices.ContainsFunc(beats, func(b dedupe.Heartbeat) bool { return b.Storm })
	group, err := s.group(ctx)
	if err != nil {
		return e, err
	}
	e.instances = len(group.Members)
	stored, err := s.committed(ctx, s.cfg.Kafka.Topic)
	e.committed = stored[e.Latest.Partition]
	e.Behind = max(e.Latest.Offset-max(e.committed, 0), 0)
	return e, err
}

// addEvent adds what is known of the latest event.
func (e *Evidence) addEvent(latest occurrence, m memberState, items []dlq.Item) {
	i := slices.IndexFunc(m.events, latest.isAlso)
	first := m.originals()[i]
	original := m.events[first]
	e.done = m.done[i]
	e.Latest = &Latest{
		EventID: latest.result.Event.ID, Partition: latest.partition, Offset: latest.offset, Time: latest.time,
		Ignored: latest.result.Event.Ignored, Outcome: e.done.Outcome,
	}
	if first != i {
		e.Latest.Repeats = fmt.Sprintf("%d:%d", original.partition, original.offset)
	}
	switch fault, held := latest.result.Fault, e.done.Held; {
	case fault != nil:
		e.Latest.Reason = string(fault.Reason)
	case held != nil:
		e.Latest.Reason, e.Latest.Code = held.Reason, held.Code
	}
	for _, i := range items {
		switch {
		case latest.isOf(i.DeadLetter), original.isOf(i.DeadLetter):
			e.DeadLetter = &i
		case i.State == dlq.StateOpen && e.Earlier == nil:
			e.Earlier = &i
		}
	}
}

// cause decides.
func (e *Evidence) cause() Cause {
	switch {
	case e.otherKey:
		return CauseStateKey
	case e.stateLost:
		return CauseStateLost
	case e.Latest == nil:
		return CauseNoEvents
	case e.Latest.Ignored != "":
		return CauseIgnored
	case e.DeadLetter != nil:
		if c := e.ofDeadLetter(); c != "" {
			return c
		}
	case e.done.Outcome == string(consumer.DeadLettered):
		return CauseDeadLetterExpired
	}
	if !e.done.Done {
		return e.notDone()
	}
	return e.finished()
}

// ofDeadLetter is about a dead letter of the latest event. Empty: a redrive has applied it.
func (e *Evidence) ofDeadLetter() Cause {
	switch e.DeadLetter.State {
	case dlq.StateRedriving:
		return CauseRedriving
	case dlq.StateOpen:
		return CauseDeadLettered
	case dlq.StateDiscarded:
		return CauseDiscarded
	case dlq.StateSuperseded:
		return CauseSuperseded
	case dlq.StateApplied:
		if e.Earlier == nil {
			return CauseRedriven
		}
	}
	return ""
}

// notDone is about a latest event of which Redis knows no outcome. Why nothing is sent comes before
// what is in flight: during an outage, a member is leased again and again.
func (e *Evidence) notDone() Cause {
	reached := e.Latest.Offset < e.committed
	switch {
	case !reached && e.storm && e.Latest.Reason != "":
		return CauseHeld
	case reached:
		return CauseForgotten
	case e.Paused != nil:
		return CauseOperator
	case e.instances == 0 && !e.leased:
		return CauseNoInstance
	case len(e.Causes) > 0:
		return Cause(e.Causes[0].Cause)
	case len(e.Pending) > 0 && !e.leased:
		return CauseUnacknowledged
	case e.leased:
		return CauseInFlight
	}
	return CauseLagging
}

// finished is about a latest event that ended other than as a dead letter.
func (e *Evidence) finished() Cause {
	switch {
	case e.done.Outcome == string(consumer.Superseded):
		return CauseSuperseded
	case e.Earlier != nil:
		return CauseEarlierDeadLetter
	case e.done.Outcome == string(consumer.Unchanged):
		return CauseUnchanged
	}
	return CauseApplied
}

// newest returns the event that the cause is about: the last in time.
func newest(events []occurrence) *occurrence {
	if len(events) == 0 {
		return nil
	}
	latest := slices.MaxFunc(events, func(a, b occurrence) int {
		return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.offset, b.offset), cmp.Compare(a.result.Event.Index, b.result.Event.Index))
	})
	return &latest
}
