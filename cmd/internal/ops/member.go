package ops

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/partlog"
)

// A Subject is the one employee that a command is about.
type Subject struct {
	Employee   string // id in the HR system
	OpenUserID string // of the CRM; empty: that of the employee's latest event in the source topic
}

// A memberState is what is known of one employee.
type memberState struct {
	member     dedupe.Member
	hash       string // of the member, as in the keys of Redis
	openUserID string
	state      dedupe.MemberState
	events     []occurrence
	ids        []dedupe.EventID
	done       []dedupe.EventGrant
}

// lookUp reads ranges of the source topic for the employee's events, and Redis for their outcomes.
// With [errNoEvents], the rest is filled as far as it is known.
func (s *Members) lookUp(ctx context.Context, subject Subject, ranges map[int]partlog.Range) (memberState, error) {
	events, err := s.eventsOf(ctx, subject.Employee, ranges)
	if err != nil {
		return memberState{}, err
	}
	return s.lookUpEvents(ctx, subject, events)
}

// lookUpEvents reads Redis for the outcomes of an employee's events.
func (s *Members) lookUpEvents(ctx context.Context, subject Subject, events []occurrence) (m memberState, err error) {
	m.openUserID, m.events = subject.OpenUserID, events
	var latest time.Time
	for _, e := range m.events {
		if id := e.result.Event.OpenUserID; subject.OpenUserID == "" && id != "" && !e.time.Before(latest) {
			m.openUserID, latest = id, e.time
		}
		_, id := s.identify(e)
		m.ids = append(m.ids, id)
	}
	m.done = make([]dedupe.EventGrant, len(m.ids))
	if m.openUserID == "" {
		if err := s.lookUpDone(ctx, &m); err != nil {
			return m, err
		}
		return m, errNoEvents
	}
	m.member = s.member(m.openUserID)
	m.hash = s.parts.Store.MemberHash(m.member)
	if m.state, err = s.parts.Store.Member(ctx, m.member, nil); err != nil {
		return m, err
	}
	return m, s.lookUpDone(ctx, &m)
}

// lookUpDone looks up the outcomes of the events. The done mark of one that could not be read is
// under a member of its own.
func (s *Members) lookUpDone(ctx context.Context, m *memberState) error {
	if m.openUserID != "" {
		done, err := s.parts.Store.Done(ctx, m.member, m.ids)
		if err != nil {
			return err
		}
		copy(m.done, done)
	}
	for i, e := range m.events {
		if e.result.Fault == nil {
			continue
		}
		member, _ := s.identify(e)
		alone, err := s.parts.Store.Done(ctx, member, m.ids[i:i+1])
		if err != nil {
			return err
		}
		m.done[i] = alone[0]
	}
	return nil
}

// A Member is what is known of one employee, as JSON shows it. It holds no values.
type Member struct {
	EmployeeID string       `json:"employee_id"`
	OpenUserID string       `json:"open_user_id"`
	Member     string       `json:"member"` // as in the keys of Redis
	Leased     bool         `json:"leased"`
	Holder     string       `json:"lease_holder"`
	LeaseLeft  int64        `json:"lease_left_ms"`
	Fields     []FieldState `json:"fields"`
	Events     []EventState `json:"events"`
}

// A FieldState is what Redis holds of a field.
type FieldState struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Digest  bool   `json:"digest"` // of the value that the CRM holds
}

// An EventState is an event in the source topic and its outcome.
type EventState struct {
	EventID   string  `json:"event_id"`
	Partition int     `json:"partition"`
	Offset    int64   `json:"offset"`
	Timestamp Time    `json:"timestamp"`
	Index     int     `json:"index"`
	Outcome   string  `json:"outcome"` // empty: not done, or forgotten
	Redrive   int     `json:"redrive"`
	Replay    Outcome `json:"replay,omitempty"`  // in a replay; only explain has it
	Reapply   Outcome `json:"reapply,omitempty"` // in a replay with reapply
}

func (m memberState) shown(employee string) Member {
	shown := Member{
		EmployeeID: employee, OpenUserID: m.openUserID, Member: m.hash,
		Leased: m.state.Leased, Holder: m.state.Holder, LeaseLeft: m.state.Left.Milliseconds(),
		Fields: []FieldState{}, Events: []EventState{},
	}
	for _, f := range m.state.Fields {
		shown.Fields = append(shown.Fields, FieldState{f.Name, f.Version, f.Digest})
	}
	for i, e := range m.events {
		shown.Events = append(shown.Events, EventState{
			EventID: e.result.Event.ID, Partition: e.partition, Offset: e.offset, Timestamp: Time{e.time},
			Index: e.result.Event.Index, Outcome: m.done[i].Outcome, Redrive: m.done[i].Redrive,
		})
	}
	return shown
}

// Member returns what Redis holds of one employee, and the outcomes of the events that the source
// topic still holds.
func (s *Members) Member(ctx context.Context, subject Subject) (Member, error) {
	if err := s.checkKey(ctx); err != nil {
		return Member{}, err
	}
	m, err := s.lookUpAll(ctx, subject)
	return m.shown(subject.Employee), err
}

func (s *Members) lookUpAll(ctx context.Context, subject Subject) (memberState, error) {
	ranges, err := s.ranges(ctx, s.cfg.Kafka.Topic)
	if err != nil {
		return memberState{}, err
	}
	return s.lookUp(ctx, subject, ranges)
}

// A Forgetting is what is to be removed from Redis of one employee. Create it with
// [Members.PlanForget].
type Forgetting struct {
	Employee string
	Member   string   // as in the keys of Redis
	Fields   []string // whose versions are removed
	Events   int      // done marks
	Err      error    // why it cannot be removed; then the rest is empty

	members *Members
	state   memberState
}

// PlanForget returns what Redis holds of each of the employees, in their order. It reads the source
// topic once. An open user id is for one employee alone.
func (s *Members) PlanForget(ctx context.Context, subjects []Subject) ([]*Forgetting, error) {
	if err := s.checkKey(ctx); err != nil {
		return nil, err
	}
	ranges, err := s.ranges(ctx, s.cfg.Kafka.Topic)
	if err != nil {
		return nil, err
	}
	wanted := make(map[string]bool, len(subjects))
	for _, subject := range subjects {
		wanted[subject.Employee] = true
	}
	events, err := s.eventsOfAll(ctx, wanted, ranges)
	if err != nil {
		return nil, err
	}
	all := make([]*Forgetting, 0, len(subjects))
	for _, subject := range subjects {
		m, err := s.lookUpEvents(ctx, subject, events[subject.Employee])
		f := &Forgetting{Employee: subject.Employee, Fields: []string{}, Err: err, members: s}
		all = append(all, f)
		if err != nil {
			if errors.Is(err, errNoEvents) {
				continue
			}
			return all, err
		}
		f.Member, f.state = m.hash, m
		for _, field := range m.state.Fields {
			f.Fields = append(f.Fields, field.Name)
		}
		f.Events = len(slices.DeleteFunc(slices.Clone(m.done), func(g dedupe.EventGrant) bool { return !g.Done }))
	}
	return all, nil
}

// Do removes it. Whatever event comes next counts as the newest, however old it is.
func (f *Forgetting) Do(ctx context.Context, who Who) error {
	record := dlq.AuditRecord{
		Actor: who.Actor, Action: dlq.ActionStateForget, Subject: f.Employee, Note: who.Note,
		Detail: dlq.Detail{Fields: strings.Join(f.Fields, ","), Removed: f.Events},
	}
	return f.members.recorded(ctx, record, func() error {
		return f.members.parts.Store.Forget(ctx, f.state.member, f.state.ids...)
	})
}

// Source returns the record of the event that has set a field, as its version states it. Not ok:
// the version is of another form.
func (f FieldState) Source() (partition int, offset int64, index int, at time.Time, ok bool) {
	const timeFrom, partitionFrom, offsetFrom, indexFrom, indexEnd = 25, 38, 43, 57, 60 // see mapper.Version
	if len(f.Version) < indexEnd {
		return 0, 0, 0, time.Time{}, false
	}
	var errs [4]error
	var millis, part, idx int64
	millis, errs[0] = strconv.ParseInt(f.Version[timeFrom:partitionFrom], 10, 64)
	part, errs[1] = strconv.ParseInt(f.Version[partitionFrom:offsetFrom], 10, 32)
	offset, errs[2] = strconv.ParseInt(f.Version[offsetFrom:indexFrom], 10, 64)
	idx, errs[3] = strconv.ParseInt(f.Version[indexFrom:indexEnd], 10, 32)
	return int(part), offset, int(idx), time.UnixMilli(millis).UTC(), errors.Join(errs[:]...) == nil
}
