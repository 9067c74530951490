// Package ops holds what the commands and the pages of an operator do: list, show, redrive and
// discard dead letters, replay, explain, offsets, state, pause and audit.
//
// Start with [Session], which has a method for each. A method takes a context and returns values
// and errors; what takes long reports its progress to a function of the caller. The values that are
// shown have the names of the JSON output, which are part of the public contract. Whatever changes
// something takes a [Who], and is in the audit topic before it is done, except a pause: that must
// work without Kafka.
//
// The package must not know flags, prompts, tables, HTTP and exit statuses.
package ops

import (
	"context"
	"errors"
	"strings"
	"time"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/wiring"
	"membersync/dlq"
)

// writeTimeout is how long a write is repeated while Kafka is not ready.
const writeTimeout = 15 * time.Second

// A Session works on the topics and the state of one consumer group. It consists of parts that each
// have one subject. It is safe for concurrent use.
type Session struct {
	*DeadLetters
	*Members
	*Replayer
	*GroupOffsets
	*Control
	*State
	*Trail
}

type (
	// GroupOffsets shows and sets the offsets of the group.
	GroupOffsets struct{ *base }
	// Control pauses and resumes the instances, and reads their heartbeats.
	Control struct{ *base }
	// Trail reads the audit topic.
	Trail struct{ *base }
	// State is the state in Redis as a whole: whether it is that of the group, and its rebuild.
	State struct{ *GroupOffsets }
	// DeadLetters lists, shows, redrives and discards dead letters.
	DeadLetters struct{ *previews }
	// Members explains and forgets what is known of one employee.
	Members struct {
		*DeadLetters
		control *Control
	}
	// Replayer plans, runs, lists and cancels replays, and rebuilds the state from the topics.
	Replayer struct{ *DeadLetters }

	// previews find out what a record would do now.
	previews struct{ *State }
)

// base is what all parts share.
type base struct {
	cfg    config.Config
	parts  *wiring.Parts
	reader *dlq.Reader
	audit  *dlq.Auditor
}

// New returns a session on the parts, which it does not close.
func New(cfg config.Config, parts *wiring.Parts) *Session {
	b := &base{cfg: cfg, parts: parts, reader: parts.Archive, audit: Auditor(cfg, parts)}
	offsets, control := &GroupOffsets{b}, &Control{b}
	state := &State{offsets}
	deadLetters := &DeadLetters{&previews{state}}
	return &Session{
		DeadLetters: deadLetters, Members: &Members{deadLetters, control}, Replayer: &Replayer{deadLetters},
		GroupOffsets: offsets, Control: control, State: state, Trail: &Trail{b},
	}
}

// Target returns what the session works on.
func (s *Session) Target() Target { return s.Control.target() }

// Auditor returns a writer of audit records that repeats a write for 15 s while Kafka is not ready.
func Auditor(cfg config.Config, parts *wiring.Parts) *dlq.Auditor {
	return dlq.NewAuditor(parts.Kafka, cfg.Audit.Topic, dlq.WithRetry(writeTimeout))
}

// A Target is what a session works on, as plans and prompts name it.
type Target struct {
	Brokers []string
	Topic   string // source topic
	DLQ     string // dead-letter topic
	Group   string
	CRM     string // URL and corpId
}

func (s *base) target() Target {
	return Target{
		Brokers: s.cfg.Kafka.Brokers, Topic: s.cfg.Kafka.Topic, DLQ: s.cfg.DLQ.Topic, Group: s.cfg.Kafka.Group,
		CRM: s.cfg.CRM.BaseURL + " (corpId " + s.cfg.CRM.CorpID + ")",
	}
}

// String names brokers, topic, group and CRM.
func (t Target) String() string {
	return "brokers " + strings.Join(t.Brokers, ",") + ", topic " + t.Topic + ", group " + t.Group + ", CRM " + t.CRM
}

// Who is the actor of a change or a reveal, and why, as the audit topic records them. The actor is
// not verified.
type Who struct{ Actor, Note string }

// A RefusedError says why something was not done.
type RefusedError struct{ Reason string }

// Error returns the reason.
func (e *RefusedError) Error() string { return e.Reason }

// stateOfOtherKey is what is wrong with a state of which nothing is found.
const stateOfOtherKey = "the state in Redis was written under another MEMBERSYNC_STATE_KEY, or without one; " +
	"restore that setting, or stop all instances and run membersync state rebuild"

// Why a redrive, a replay or a rebuild is refused.
var (
	ErrStateLost = &RefusedError{"refused: the state in Redis was lost, so an old value could win; run membersync state rebuild first"}
	ErrOtherKey  = &RefusedError{"refused: " + stateOfOtherKey}
	ErrKeyOfNone = &RefusedError{"MEMBERSYNC_STATE_KEY here is unset, or not that of the running instances, so no member is found in Redis; set theirs"}
	ErrKeyInUse  = &RefusedError{"refused: the state in Redis was written under another MEMBERSYNC_STATE_KEY, " +
		"and instances of membersync run under it; stop them before the key changes"}
)

// recorded carries out what the audit topic must know of before it is done. A first record says
// what is about to be done, a second one its result. If only the second
// one cannot be written, it returns an [*UnrecordedError].
func (s *base) recorded(ctx context.Context, r dlq.AuditRecord, do func() error) error {
	r.Result = dlq.ResultRequested
	if err := s.audit.Write(ctx, r); err != nil {
		return err
	}
	err := do()
	if r.Result = dlq.ResultDone; err != nil {
		r.Result = dlq.ResultFailed
	}
	unrecorded := s.audit.Write(context.WithoutCancel(ctx), r)
	if err == nil && unrecorded != nil {
		return &UnrecordedError{unrecorded}
	}
	return errors.Join(err, unrecorded)
}

// RecordReveal writes who looks at the personal data of the subject, and why. Nothing may be shown
// before it has returned nil.
func RecordReveal(ctx context.Context, auditor *dlq.Auditor, subject string, who Who) error {
	err := auditor.Write(ctx, dlq.AuditRecord{
		Actor: who.Actor, Action: dlq.ActionReveal, Subject: subject, Note: who.Note, Result: dlq.ResultDone,
	})
	if err != nil {
		return &revealError{err}
	}
	return nil
}

type revealError struct{ err error }

func (e *revealError) Error() string {
	return "nothing is revealed, because the audit topic has not acknowledged the record of it: " + e.err.Error()
}

func (e *revealError) Unwrap() error { return e.err }

// A Time is a moment as JSON shows it: RFC 3339 in UTC with milliseconds, or null for the zero
// time.
type Time struct{ time.Time }

// MarshalJSON implements [encoding/json.Marshaler].
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.String() + `"`), nil
}

// String returns the time in RFC 3339 with milliseconds; empty for the zero time.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}
