package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/ops"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

// What others do while an operator reads the plan of a command.

// session is that of another operator, or of one who has not confirmed yet.
func (o *opsRig) session(t *testing.T) *ops.Session {
	t.Helper()
	cfg, _, err := config.Load(nil, o.app.Environ, o.app.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	return ops.New(cfg, o.parts(t))
}

// openOne lets the CRM refuse a first event, and returns the id of its dead letter.
func (o *opsRig) openOne(t *testing.T) string {
	t.Helper()
	o.set("DLQ_STORM_SHARE", "0")
	o.crm.Push(crmapitest.Fault{Member: "FSUID_TEST1", Code: crmapitest.CodeNoMember})
	o.hr.change(t, 1, 1, `{"position":"wrong","qq":"1"}`)
	o.serving(t)
	o.drained(t)
	ids := o.ids(t)
	if len(ids) != 1 {
		t.Fatalf("%d dead letters", len(ids))
	}
	return ids[0]
}

func ignoreNotice(ops.NoResults) {}

func TestARedriveLeavesOutWhatWasDiscardedSinceThePlan(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	id := o.openOne(t)
	run, err := o.session(t).NewRedrive(t.Context(), ops.RedriveRequest{Query: dlq.Query{States: []dlq.State{dlq.StateOpen}}})
	if err != nil {
		t.Fatal(err)
	}
	o.must(t, "dlq", "discard", id, "--note=must not be applied", "--yes")
	var got []ops.ItemResult
	if _, err := run.Run(t.Context(), func(r ops.ItemResult) { got = append(got, r) }, ignoreNotice); err != nil {
		t.Fatal(err)
	}
	want := []ops.ItemResult{{ID: id, Result: "left out", Detail: "discarded since the plan"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n := len(o.broker.ReadAll(t, o.topics.Redrive)); n > 0 {
		t.Errorf("%d redrives were sent", n)
	}
}

func TestADiscardLeavesOutWhatWasAppliedSinceThePlan(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	id := o.openOne(t)
	s := o.session(t)
	plan, err := s.Index(t.Context(), dlq.Query{States: []dlq.State{dlq.StateOpen}}, ops.ByReason)
	if err != nil {
		t.Fatal(err)
	}
	o.must(t, redriveArgs(id)...)
	var got []ops.ItemResult
	if err := s.Discard(t.Context(), plan, ops.Who{Note: "left the company"}, func(r ops.ItemResult) { got = append(got, r) }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]ops.ItemResult{{ID: id, Result: "applied", Detail: "since the plan"}}, got); d != "" {
		t.Error(d)
	}
	if slices.ContainsFunc(o.topics.records(t), func(r dlq.AuditRecord) bool { return r.Action == dlq.ActionDiscard }) {
		t.Error("a discard was recorded")
	}
}

// Two operators redrive one dead letter, one of them with an edited value. It runs once. The second
// one waits for the first one's result, or hears that the edited value was not sent; and what the
// audit topic says of the edit is true.
func TestTwoRedrivesOfOneDeadLetter(t *testing.T) {
	t.Parallel()
	const value = `{"eventId":"ev-1","sequence":1,"employeeId":"E1","openUserId":"FSUID_TEST1","after":{"position":"right"}}`
	for name, isEditedFirst := range map[string]bool{"the edited one first": true, "the edited one second": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOpsRig(t)
			id := o.openOne(t)
			request := func(actor string, edited bool) ops.RedriveRequest {
				r := ops.RedriveRequest{Query: dlq.Query{IDs: []string{id}}, Who: ops.Who{Actor: actor}, Edited: edited}
				if edited {
					r.Value = []byte(value)
				}
				return r
			}
			first, err := o.session(t).NewRedrive(t.Context(), request("first", isEditedFirst))
			if err != nil {
				t.Fatal(err)
			}
			second, err := o.session(t).NewRedrive(t.Context(), request("second", !isEditedFirst))
			if err != nil {
				t.Fatal(err)
			}
			o.must(t, "pause", "--yes")
			until(t, "the pause to be in force", func() bool {
				_, stdout, _ := o.do(t, "status", "-o", "json")
				return strings.Contains(stdout, `"causes":["operator"]`)
			})
			results := make(chan ops.ItemResult, 2)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(context.Canceled)
			start := func(r *ops.Redrive) {
				go func() {
					if _, err := r.Run(ctx, func(i ops.ItemResult) { results <- i }, ignoreNotice); err != nil && !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				}()
			}
			start(first)
			until(t, "the first redrive to be sent", func() bool { return len(o.broker.ReadAll(t, o.topics.Redrive)) == 1 })
			start(second)
			wantSecond := ops.ItemResult{ID: id, Result: dlq.ResultApplied}
			if !isEditedFirst {
				wantSecond = ops.ItemResult{ID: id, Result: "failed", Detail: "redrive 1 by first is under way; this value was not sent", Failed: true}
				if got := <-results; got != wantSecond {
					t.Errorf("second: %+v", got)
				}
			}
			o.must(t, "resume", "--yes")
			if got := <-results; got != (ops.ItemResult{ID: id, Result: dlq.ResultApplied}) {
				t.Errorf("%+v", got)
			}
			if isEditedFirst {
				if got := <-results; got != wantSecond {
					t.Errorf("second: %+v", got)
				}
			}
			if n := len(o.broker.ReadAll(t, o.topics.Redrive)); n != 1 {
				t.Errorf("%d redrives were sent, want 1", n)
			}
			want := map[bool]string{true: `"right"`, false: `"wrong"`}[isEditedFirst]
			if got := string(o.crm.State("FSUID_TEST1")["position"]); got != want {
				t.Errorf("position %s, want %s", got, want)
			}
		})
	}
}

// Redis is emptied between the plan of a replay and its start: a marker written then would hide the
// loss, and the older value would be applied.
func TestAReplayIsRefusedAfterALossSinceThePlan(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.hr.change(t, 1, 1, `{"position":"old"}`)
	o.hr.change(t, 2, 1, `{"position":"new"}`)
	o.served(t)
	run, err := o.session(t).NewReplay(t.Context(), ops.ReplayRequest{
		From: ops.Position{Offsets: map[int]int64{0: 0}}, To: ops.Position{Offsets: map[int]int64{0: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	o.state.empty(t)
	if _, err := run.Run(t.Context(), func(int64, int64) {}); !errors.Is(err, ops.ErrStateLost) {
		t.Errorf("got %v, want %v", err, ops.ErrStateLost)
	}
	if got := string(o.crm.State("FSUID_TEST1")["position"]); got != `"new"` {
		t.Errorf("position %s", got)
	}
	if m, err := o.parts(t).Store.Marker(t.Context(), o.variable("KAFKA_GROUP")); err != nil || m.Exists() {
		t.Errorf("%+v, %v", m, err)
	}
}

// An instance starts under the former key after the plan of a rebuild, and applies a newer event
// while the rebuild reads.
func TestARebuildUnderANewKeyIsRefusedIfAnInstanceStarts(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.hr.change(t, 1, 1, `{"position":"old"}`)
	o.served(t)
	former := o.variable("STATE_KEY")
	o.set("STATE_KEY", "another key made up for tests, 32 bytes or more")
	run, err := o.session(t).PlanRebuild(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.set("STATE_KEY", former)
	_, err = run.Run(t.Context(), ops.Who{}, func(dlq.Loss) {
		o.hr.change(t, 2, 1, `{"position":"new"}`)
		o.served(t)
	}, func(int) {})
	if !errors.Is(err, ops.ErrKeyInUse) {
		t.Errorf("got %v, want %v", err, ops.ErrKeyInUse)
	}
	if m, err := o.parts(t).Store.Marker(t.Context(), o.variable("KAFKA_GROUP")); err != nil || m.OtherKey {
		t.Errorf("the former key's marker: %+v, %v", m, err)
	}
}

// The latest event ends after explain has read the marks, and before it reads the offsets.
func TestExplainLooksAgainBeforeItSaysForgotten(t *testing.T) {
	t.Parallel()
	broker := kafkatest.StartFake(t)
	o := newOpsRigOn(t, broker)
	o.hr.change(t, 1, 1, `{"position":"A"}`)
	o.served(t)
	o.hr.change(t, 2, 1, `{"position":"B"}`)
	var looked atomic.Bool // the service that runs then asks, too
	broker.Fake().ControlKey(int16(kmsg.DescribeGroups), func(kmsg.Request) (kmsg.Response, error, bool) {
		if !looked.Swap(true) {
			broker.Fake().SleepControl(func() { o.served(t) })
		}
		return nil, nil, false
	})
	if got := o.must(t, "explain", "E1"); !strings.Contains(got, "was applied") {
		t.Error(got)
	}
}

// Another operator pauses the calls while one confirms a plan that showed no pause, or an earlier
// one.
func TestAPauseThatWasNotSeenIsKept(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	s := o.session(t)
	var none *ops.Pause
	o.must(t, "pause", "--note=the CRM is restored", "--yes")
	for name, act := range map[string]func(ops.SeenPause) error{
		"resume": func(seen ops.SeenPause) error { return s.Resume(t.Context(), seen, false, ops.Who{}) },
		"pause": func(seen ops.SeenPause) error {
			return s.Pause(t.Context(), seen, time.Now().Add(time.Minute), ops.Who{})
		},
	} {
		if err := act(none.Seen()); !errors.Is(err, ops.ErrOtherPause) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	now, err := s.Paused(t.Context())
	if err != nil || now == nil || now.Note != "the CRM is restored" {
		t.Fatalf("%+v, %v", now, err)
	}
	if err := s.Resume(t.Context(), now.Seen(), false, ops.Who{}); err != nil {
		t.Error(err)
	}
}
