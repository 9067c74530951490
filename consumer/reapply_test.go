package consumer_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// edited replaces the value of a redrive of event e1.
func (r *rig) edited(after fields) func(*dlq.Redrive) {
	return func(one *dlq.Redrive) { one.DeadLetter.Value, one.Edited = r.event("e1", 1, 10, after).Value, true }
}

// settledAfter produces records and waits until they are finished.
func (r *rig) settledAfter(msgs ...kafka.Message) {
	r.t.Helper()
	r.produce(msgs...)
	r.settled()
}

// dropState deletes keys of all members, by the pattern of their last part.
func (r *rig) dropState(pattern string) {
	r.t.Helper()
	keys, err := r.redis.Keys(r.t.Context(), r.prefix+":*:"+pattern).Result()
	if err == nil && len(keys) == 0 {
		err = errors.New("no key is like " + pattern)
	}
	if err == nil {
		err = r.redis.Del(r.t.Context(), keys...).Err()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// refuse makes the CRM refuse the next calls for a member for good.
func (r *rig) refuse(m, times int) {
	r.crm.Push(crmapitest.Fault{Member: member(m), Times: times, Code: 10001})
}

// discard records that an operator discarded a dead letter.
func (r *rig) discard(item dlq.Item) {
	r.t.Helper()
	record := dlq.AuditRecord{
		Actor: "sample@host", Action: dlq.ActionDiscard, Subject: item.ID, Note: "wrong", Result: dlq.ResultDone,
		Detail: dlq.Detail{Number: item.Number},
	}
	if err := dlq.NewAuditor(r.client(), r.topics().Audit).Write(r.t.Context(), record); err != nil {
		r.t.Fatal(err)
	}
}

// A CRM was restored from a backup. The value that an operator edited in a redrive is applied
// again, and nothing of the original value is: neither the field that the edit has replaced nor the
// one that it has removed. The range has only the source record; the redrive belongs to it.
func TestReapplyKeepsAnEditedValue(t *testing.T) {
	t.Parallel()
	for name, reapply := range map[string]bool{"reapply": true, "state forgotten": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			r.start(r.redriving)
			r.settledAfter(r.event("e0", 1, 5, fields{"qq": "1"}))
			r.refuse(1, 1)
			r.settledAfter(r.event("e1", 1, 10, fields{"position": "Bad", "qq": "2"}))
			r.redrive(r.items()["e1"], r.edited(fields{"position": "Good"}))
			r.redrivesSettled()
			r.wantField(1, "position", `"Good"`)
			backup := map[string]json.RawMessage{"position": json.RawMessage(`"Backup"`), "qq": json.RawMessage(`"0"`)}
			r.crm.SetMember(member(1), backup)
			if !reapply {
				r.dropState("fields")
				r.dropState("done:*")
			}
			r.replay(reapply, r.all()...)
			r.wantField(1, "position", `"Good"`)
			r.wantField(1, "qq", `"1"`)
			for _, call := range r.callsOf(1) {
				if call.Applied && strings.Contains(string(call.User), `"Bad"`) {
					t.Errorf("the original value was sent again: %s", call.User)
				}
			}
		})
	}
}

// Of two edits, the later one wins, also when the earlier one is delivered after it.
func TestALaterEditWins(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.redriving, oneByOne)
	r.refuse(1, 2)
	r.settledAfter(r.event("e1", 1, 10, fields{"position": "Bad", "qq": "1"}))
	r.redrive(r.items()["e1"], r.edited(fields{"position": "First", "qq": "1"}))
	r.redrivesSettled()
	again := r.items()["e1"]
	if d := again.DeadLetter; d.Edited != 1 || d.Redrives != 1 {
		t.Fatalf("the second dead letter is of edit %d and redrive %d, want 1 and 1", d.Edited, d.Redrives)
	}
	r.redrive(again) // unedited: the value is still that of the first edit
	r.redrivesSettled()
	r.wantField(1, "position", `"First"`)
	r.redrive(r.items()["e1"], r.edited(fields{"position": "Second"}))
	r.redrivesSettled()
	r.wantField(1, "position", `"Second"`)
	r.replay(true, r.all()...)
	r.wantField(1, "position", `"Second"`)
	r.wantField(1, "qq", `"1"`)
	if item := r.items()["e1"]; item.State != dlq.StateApplied {
		t.Errorf("the item is %s", item.State)
	}
}

// An edited value is older than a newer event: the edit changes the last part of the version alone.
func TestAnEditedValueDoesNotWinOverANewerEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.redriving)
	r.refuse(1, 1)
	r.settledAfter(r.event("e1", 1, 10, fields{"position": "Bad"}))
	r.settledAfter(r.event("e2", 1, 11, fields{"position": "New"}))
	r.redrive(r.items()["e1"], r.edited(fields{"position": "Edited"}))
	r.redrivesSettled()
	r.wantField(1, "position", `"New"`)
	if item := r.items()["e1"]; item.State != dlq.StateSuperseded {
		t.Errorf("the item is %s", item.State)
	}
}

// A replay leaves out what is open or discarded, with and without reapply, and although the CRM
// would take it now.
func TestAReplayLeavesOutOpenAndDiscarded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ reapply, expire bool }{
		"reapply": {true, false}, "marks expired": {false, true}, "reapply and marks expired": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			r.start(r.redriving)
			for m, id := range map[int]string{1: "open", 2: "discarded"} {
				r.settledAfter(r.event(id+" before", m, 5, fields{"position": "Right"}))
				r.refuse(m, 1)
				r.settledAfter(r.event(id, m, 10, fields{"position": "Wrong"}))
			}
			r.discard(r.items()["discarded"])
			if c.expire {
				r.dropState("done:*")
			}
			r.replay(c.reapply, r.all()...)
			for m, id := range map[int]string{1: "open", 2: "discarded"} {
				r.wantField(m, "position", `"Right"`)
				if item := r.items()[id]; string(item.State) != id || item.Occurrences != 1 {
					t.Errorf("%s is %s, with %d dead letters", id, item.State, item.Occurrences)
				}
			}
		})
	}
}

// An event that is dead-lettered while a replay runs is not in the replay's index. Its done mark
// makes the replay leave it out all the same.
func TestReapplyLeavesOutWhatIsDeadLetteredSince(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.redriving)
	r.settledAfter(r.event("e0", 1, 5, fields{"position": "Right"}))
	r.refuse(1, 1)
	r.settledAfter(r.event("e1", 1, 10, fields{"position": "Wrong"}))
	none, err := dlq.NewReader(r.client(), dlq.Topics{Source: r.topic, DLQ: r.topics().Redrive, Redrive: r.topics().Redrive, Audit: r.topics().Audit}).
		Index(t.Context(), dlq.Query{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.replayWith(func(cfg *consumer.Config, p *consumer.Parts) { cfg.Reapply, p.Items = true, none }, r.all()...)
	r.wantField(1, "position", `"Right"`)
}

// A replay of an event that lies outside of the range does not run its redrive.
func TestAReplayRunsNoRedrivesOfOtherEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.redriving)
	for m, id := range map[int]string{1: "in", 2: "out"} {
		r.refuse(m, 1)
		r.settledAfter(r.event(id, m, 10, fields{"position": "A"}))
	}
	for _, item := range r.items() {
		r.redrive(item)
	}
	r.redrivesSettled()
	for m := range 3 {
		r.crm.SetMember(member(m), map[string]json.RawMessage{"position": json.RawMessage(`"Backup"`)})
	}
	offset := r.items()["in"].DeadLetter.Source.Offset
	r.replay(true, consumer.Range{Topic: r.topic, First: offset, End: offset + 1})
	r.wantField(1, "position", `"A"`)
	r.wantField(2, "position", `"Backup"`)
}

// Without a state key, an edited value cannot be told from a forged one.
func TestWithoutAKeyAnEditedValueIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.redriving, func(_ *consumer.Config, p *consumer.Parts) { p.EditDigest = nil })
	r.refuse(1, 1)
	r.settledAfter(r.event("e1", 1, 10, fields{"position": "Bad"}))
	calls := len(r.crm.Calls())
	r.redrive(r.items()["e1"], r.edited(fields{"position": "Good"}))
	r.redrivesSettled()
	if n := len(r.crm.Calls()); n != calls {
		t.Errorf("%d calls for an edited value", n-calls)
	}
	all := r.deadLetters()
	if d := all[len(all)-1]; d.Reason != dlq.ReasonInvalidRedrive {
		t.Errorf("the last dead letter is %s", d.Reason)
	}
}
