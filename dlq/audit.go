package dlq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// An Action is the kind of operation that an audit record documents. It is part of the contract.
type Action string

// The actions.
const (
	ActionRedrive       Action = "redrive"
	ActionRedriveResult Action = "redrive_result" // by the service, before the offset counts
	ActionDiscard       Action = "discard"
	ActionReveal        Action = "reveal"
	ActionOffsetsReset  Action = "offsets_reset"
	ActionReplay        Action = "replay"
	ActionReplayCancel  Action = "replay_cancel"
	ActionPause         Action = "pause"
	ActionResume        Action = "resume"
	ActionStateForget   Action = "state_forget"
	ActionStateRebuild  Action = "state_rebuild"
)

// Actions returns all actions.
func Actions() []Action {
	return []Action{
		ActionRedrive, ActionRedriveResult, ActionDiscard, ActionReveal, ActionOffsetsReset, ActionReplay, ActionReplayCancel,
		ActionPause, ActionResume, ActionStateForget, ActionStateRebuild,
	}
}

// An AuditRecord states who did what, when, why, and with which result. It never holds a value of a
// member field.
type AuditRecord struct {
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"` // as given by the caller, unverified
	Action  Action    `json:"action"`
	Subject string    `json:"subject"` // the dead letter's id, or another object of the action
	Note    string    `json:"note"`
	Result  string    `json:"result"`
	Detail  Detail    `json:"detail"`
}

// A Detail holds the facts that are specific to an action. Zero values are left out of the JSON.
type Detail struct {
	// Of a redrive: the dead letter's own partition:offset in the DLQ.
	DeadLetter string `json:"dead_letter,omitempty"`
	// Of a redrive or its result: its number. Of a discard: the highest failure number.
	Number int  `json:"number,omitempty"`
	Edited bool `json:"edited,omitempty"` // the value was replaced
	// Of a redrive with an edited value: its keyed digest, see [ValueDigest].
	Digest string `json:"digest,omitempty"`
	Reason string `json:"reason,omitempty"` // of the next failure, or why it was refused
	By     string `json:"by,omitempty"`     // of a result: who requested the redrive
	// Of a redrive: the fields that an edited value states. Names, comma-separated.
	Fields  string `json:"fields,omitempty"`
	Until   string `json:"until,omitempty"` // of a pause, RFC 3339
	Removed int    `json:"removed,omitempty"`
	// Of a reset: the group's committed offsets before and after it, by topic and partition.
	// Of a replay: the first offset of each range and its end.
	Offsets []OffsetChange `json:"offsets,omitempty"`
	// Of a replay; its ranges are in Offsets.
	Employee string `json:"employee,omitempty"`
	Reapply  bool   `json:"reapply,omitempty"`
	Records  int64  `json:"records,omitempty"`
	// Of a bulk job: its own facts. Such a record is about no single dead letter, see [Job].
	Job *JobDetail `json:"job,omitempty"`
}

// An OffsetChange is one partition of an offsets reset or a replay. An offset of -1 means none.
type OffsetChange struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
}

// The results of actions. From ResultApplied on they are results of a redrive_result: the outcomes
// of the redriven event, or ResultRefused.
const (
	ResultRequested    = "requested"     // of a redrive: it is about to be sent
	ResultDone         = "done"          // of an action that is complete when its record is written
	ResultFailed       = "failed"        // of an action: it may have been done in part
	ResultApplied      = "applied"       // at least one of its fields was sent
	ResultSuperseded   = "superseded"    // newer events state its fields
	ResultUnchanged    = "unchanged"     // the CRM has the values that it states
	ResultIgnored      = "ignored"       // by a rule of the mapping
	ResultDuplicate    = "duplicate"     // a later redrive of it has run already
	ResultDeadLettered = "dead_lettered" // it failed again
	ResultRefused      = "refused"       // the redrive record is invalid: see invalid_redrive
)

// ErrAudit is returned for a record of the audit topic that is not an audit record.
var ErrAudit = errors.New("dlq: not an audit record")

// ParseAudit decodes the value of a record of the audit topic.
func ParseAudit(value []byte) (AuditRecord, error) {
	var a AuditRecord
	if err := json.Unmarshal(value, &a); err != nil || a.Action == "" {
		return AuditRecord{}, ErrAudit // not the decoder's error: its text could quote the record
	}
	return a, nil
}

// An Auditor writes audit records, each acknowledged by all in-sync replicas. It is safe for
// concurrent use.
type Auditor struct{ to *producer }

// NewAuditor returns a writer to the audit topic.
func NewAuditor(client *kafka.Client, topic string, opts ...Option) *Auditor {
	return &Auditor{newProducer(client, topic, opts)}
}

// Write writes one record. A zero time becomes the current time. The errors are those of
// [Writer.Write]. The record's key is the subject, so the records of one dead letter keep their
// order.
func (a *Auditor) Write(ctx context.Context, r AuditRecord) error {
	_, err := a.Append(ctx, r)
	return err
}

// Append is Write, and returns the place of the record in the audit topic. If a write was repeated,
// the topic may hold the record twice; the place is that of the last one.
func (a *Auditor) Append(ctx context.Context, r AuditRecord) (Place, error) {
	if r.At.IsZero() {
		r.At = time.Now()
	}
	r.At = r.At.UTC().Truncate(time.Millisecond)
	r.Actor, r.Note = errorText(r.Actor), errorText(r.Note)
	value, err := json.Marshal(r)
	if err != nil {
		return Place{}, fmt.Errorf("dlq: encoding an audit record: %w", err)
	}
	return a.to.write(ctx, kafka.Message{Key: []byte(r.Subject), Value: value}, r.Subject)
}
