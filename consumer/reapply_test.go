package consumer_test

import (
	"encoding/json"
	"strings"
	"testing"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// edited replaces the value of a redrive of event e1.
func edited(after fields) func(*dlq.Redrive) {
	return func(one *dlq.Redrive) { one.DeadLetter.Value, one.Edited = event("e1", 1, 10, after).Value, true }
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
			r.start(r.dlq.redriving)
			r.process(event("e0", 1, 5, fields{"qq": "1"}))
			r.crm.refuse(1, 1)
			r.process(event("e1", 1, 10, fields{"position": "Bad", "qq": "2"}))
			r.processRedrive(r.dlq.items()["e1"], edited(fields{"position": "Good"}))
			r.crm.wantField(1, "position", `"Good"`)
			backup := map[string]json.RawMessage{"position": json.RawMessage(`"Backup"`), "qq": json.RawMessage(`"0"`)}
			r.crm.SetMember(member(1), backup)
			if !reapply {
				r.redis.drop("*:f")
				r.redis.drop("*:d")
			}
			r.replay(reapply, r.kafka.all()...)
			r.crm.wantField(1, "position", `"Good"`)
			r.crm.wantField(1, "qq", `"1"`)
			for _, call := range r.crm.callsOf(1) {
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
	r.start(r.dlq.redriving, oneByOne)
	r.crm.refuse(1, 2)
	r.process(event("e1", 1, 10, fields{"position": "Bad", "qq": "1"}))
	r.processRedrive(r.dlq.items()["e1"], edited(fields{"position": "First", "qq": "1"}))
	again := r.dlq.items()["e1"]
	if d := again.DeadLetter; d.Edited != 1 || d.Redrives != 1 {
		t.Fatalf("the second dead letter is of edit %d and redrive %d, want 1 and 1", d.Edited, d.Redrives)
	}
	r.processRedrive(again) // unedited: the value is still that of the first edit
	r.crm.wantField(1, "position", `"First"`)
	r.processRedrive(r.dlq.items()["e1"], edited(fields{"position": "Second"}))
	r.crm.wantField(1, "position", `"Second"`)
	r.replay(true, r.kafka.all()...)
	r.crm.wantField(1, "position", `"Second"`)
	r.crm.wantField(1, "qq", `"1"`)
	if item := r.dlq.items()["e1"]; item.State != dlq.StateApplied {
		t.Errorf("the item is %s", item.State)
	}
}

// An edited value is older than a newer event: the edit changes the last part of the version alone.
func TestAnEditedValueDoesNotWinOverANewerEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.dlq.redriving)
	r.crm.refuse(1, 1)
	r.process(event("e1", 1, 10, fields{"position": "Bad"}))
	r.process(event("e2", 1, 11, fields{"position": "New"}))
	r.processRedrive(r.dlq.items()["e1"], edited(fields{"position": "Edited"}))
	r.crm.wantField(1, "position", `"New"`)
	if item := r.dlq.items()["e1"]; item.State != dlq.StateSuperseded {
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
			r.start(r.dlq.redriving)
			for m, id := range map[int]string{1: "open", 2: "discarded"} {
				r.process(event(id+" before", m, 5, fields{"position": "Right"}))
				r.crm.refuse(m, 1)
				r.process(event(id, m, 10, fields{"position": "Wrong"}))
			}
			r.dlq.discard(r.dlq.items()["discarded"])
			if c.expire {
				r.redis.drop("*:d")
			}
			r.replay(c.reapply, r.kafka.all()...)
			for m, id := range map[int]string{1: "open", 2: "discarded"} {
				r.crm.wantField(m, "position", `"Right"`)
				if item := r.dlq.items()[id]; string(item.State) != id || item.Occurrences != 1 {
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
	r.start(r.dlq.redriving)
	r.process(event("e0", 1, 5, fields{"position": "Right"}))
	r.crm.refuse(1, 1)
	r.process(event("e1", 1, 10, fields{"position": "Wrong"}))
	none, err := dlq.NewReader(r.kafka.client(), dlq.Topics{Source: r.kafka.topic, DLQ: r.kafka.topics().Redrive, Redrive: r.kafka.topics().Redrive, Audit: r.kafka.topics().Audit}).
		Index(t.Context(), dlq.Query{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.replayWith(func(cfg *consumer.Config, p *consumer.Parts) { cfg.Reapply, p.Items = true, none }, r.kafka.all()...)
	r.crm.wantField(1, "position", `"Right"`)
}

// A replay of an event that lies outside of the range does not run its redrive.
func TestAReplayRunsNoRedrivesOfOtherEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.dlq.redriving)
	for m, id := range map[int]string{1: "in", 2: "out"} {
		r.crm.refuse(m, 1)
		r.process(event(id, m, 10, fields{"position": "A"}))
	}
	for _, item := range r.dlq.items() {
		r.dlq.redrive(item)
	}
	r.redrivesSettled()
	for m := range 3 {
		r.crm.SetMember(member(m), map[string]json.RawMessage{"position": json.RawMessage(`"Backup"`)})
	}
	offset := r.dlq.items()["in"].DeadLetter.Source.Offset
	r.replay(true, consumer.Range{Topic: r.kafka.topic, First: offset, End: offset + 1})
	r.crm.wantField(1, "position", `"A"`)
	r.crm.wantField(2, "position", `"Backup"`)
}

// Without a state key, an edited value cannot be told from a forged one.
func TestWithoutAKeyAnEditedValueIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.dlq.redriving, func(_ *consumer.Config, p *consumer.Parts) { p.EditDigest = nil })
	r.crm.refuse(1, 1)
	r.process(event("e1", 1, 10, fields{"position": "Bad"}))
	calls := len(r.crm.Calls())
	r.processRedrive(r.dlq.items()["e1"], edited(fields{"position": "Good"}))
	if n := len(r.crm.Calls()); n != calls {
		t.Errorf("%d calls for an edited value", n-calls)
	}
	all := r.dlq.read()
	if d := all[len(all)-1]; d.Reason != dlq.ReasonInvalidRedrive {
		t.Errorf("the last dead letter is %s", d.Reason)
	}
}
