package cli

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/cmd/internal/interrupt"
	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

// failing has the service dead-letter events whose gender the API does not know, and returns their
// ids.
func failing(t *testing.T, o *opsRig, n int) []string {
	t.Helper()
	for i := range n {
		value := strings.Replace(event(int64(i), "P"), `"position"`, `"gender":"X","position"`, 1)
		o.hr.send(t, "E", value)
	}
	for {
		if ids := o.ids(t, "--state=all"); len(ids) == n {
			return ids
		}
		if t.Context().Err() != nil {
			t.Fatal("nothing fails")
		}
	}
}

func redriveArgs(more ...string) []string {
	return append([]string{"dlq", "redrive", "--actor=sample@host", "--note=fixed", "--yes"}, more...)
}

// The whole way: dead, fixed and redriven with the results of the service, dead again, and the
// history of it.
func TestDLQRedrive(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	defer o.running(t)()
	ids := failing(t, o, 3)
	if status, _, stderr := o.do(t, "dlq", "redrive", "--all"); status != exitFailed || !strings.Contains(stderr, "--yes") {
		t.Errorf("without --yes: status %d: %s", status, stderr)
	}
	status, stdout, stderr := o.do(t, "dlq", "redrive", "--all", "--dry-run")
	if status != exitDone || strings.Count(stdout, "would redrive") != 3 || !strings.Contains(stderr, "3 state no fields or would fail again") {
		t.Errorf("dry run: status %d: %s%s", status, stdout, stderr)
	}
	o.files["fixed.json"] = event(0, "Lead")
	status, stdout, _ = o.do(t, redriveArgs(ids[0], "--value-file=fixed.json")...)
	if want := resultTable().heading() + resultTable().row("0:0:0", "applied", ""); status != exitDone || stdout != want {
		t.Errorf("status %d: %s", status, stdout)
	}
	status, stdout, _ = o.do(t, redriveArgs(append(ids, "7:7:7", "-o", "json")...)...)
	got := sorted(strings.Split(strings.TrimSpace(stdout), "\n"))
	want := []string{
		`{"id":"` + ids[0] + `","result":"failed","detail":"it is applied already"}`,
		`{"id":"` + ids[1] + `","result":"dead_lettered","detail":"invalid_field"}`,
		`{"id":"` + ids[2] + `","result":"dead_lettered","detail":"invalid_field"}`,
		`{"id":"7:7:7","result":"failed","detail":"unknown dead letter"}`,
	}
	if d := cmp.Diff(want, got); d != "" || status != exitFailed {
		t.Errorf("status %d: %s", status, d)
	}
	if d := cmp.Diff(ids[1:], o.ids(t)); d != "" {
		t.Errorf("open: %s", d)
	}
	show := o.must(t, "dlq", "show", ids[1])
	for _, part := range []string{`failed +- `, `redrive +1 +requested +sample@host +fixed`, `redrive_result +1 +dead_lettered`, `failed +1 `} {
		if !regexp.MustCompile(part).MatchString(show) {
			t.Errorf("the history lacks %s: %s", part, show)
		}
	}
	if n := len(o.broker.ReadAll(t, o.topics.Source)); n != 3 {
		t.Errorf("%d records in the source topic", n)
	}
	if strings.Contains(show+stdout, "Lead") {
		t.Error("personal data is shown")
	}
}

// Without a service the command says so, keeps what it has sent, and going on sends nothing twice.
func TestDLQRedriveWithoutService(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.app.quiet = 3 * time.Second // a run ends after it, also between two of the redrives
	o.topics.write(t, o.topics.deadLetter(1, dlq.ReasonCRMNotFound, 1, 0), o.topics.deadLetter(2, dlq.ReasonCRMNotFound, 2, 0), o.topics.deadLetter(3, dlq.ReasonCRMInvalid, 3, 0))
	status, stdout, stderr := o.do(t, redriveArgs("--reason=crm_not_found")...)
	if status != exitPart || stdout != resultTable().heading() || !strings.Contains(stderr, "no instance of the service is running") ||
		!strings.Contains(stderr, "2 redrives sent and without a result") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	if d := cmp.Diff([]string{"0:1:0" + sampleTime, "0:2:0" + sampleTime}, o.ids(t, "--state=redriving")); d != "" {
		t.Error(d)
	}
	// Another run was killed between the record and the sending.
	o.topics.requested(t, o.broker.ReadAll(t, o.topics.DLQ)[2], 1)
	if status, _, stderr := o.do(t, redriveArgs("--all")...); status != exitPart || !strings.Contains(stderr, "3 redrives") {
		t.Errorf("status %d: %s", status, stderr)
	}
	sent := map[string]int{}
	for _, m := range o.broker.ReadAll(t, o.topics.Redrive) {
		one, err := dlq.ParseRedrive(m)
		want := map[bool]string{true: "by hand", false: "fixed"}[one.DeadLetter.Source.Offset == 3]
		if err != nil || one.Number != 1 || one.Note != want {
			t.Errorf("number %d, note %q, %v", one.Number, one.Note, err)
		}
		sent[one.DeadLetter.ID()]++
	}
	if d := cmp.Diff(map[string]int{"0:1:0" + sampleTime: 1, "0:2:0" + sampleTime: 1, "0:3:0" + sampleTime: 1}, sent); d != "" {
		t.Errorf("sent: %s", d)
	}
	defer o.running(t)()
	for len(o.ids(t, "--state=redriving")) > 0 {
		if t.Context().Err() != nil {
			t.Fatal("no results")
		}
	}
	if got := o.ids(t, "--state=applied"); len(got) != 3 {
		t.Errorf("applied: %v", got)
	}
}

// Redrive 2 was recorded and not sent, and redrive 1 failed after it: no instance would run number
// 2, which names the earlier dead letter. So another one is recorded, for the latest.
func TestDLQRedriveAfterTheRequestOfAnEarlierFailure(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.topics.write(t, o.topics.deadLetter(1, dlq.ReasonCRMNotFound, 1, 0))
	o.topics.requested(t, o.broker.ReadAll(t, o.topics.DLQ)[0], 2)
	o.topics.write(t, o.topics.deadLetter(1, dlq.ReasonCRMNotFound, 2, 1))
	defer o.running(t)()
	if status, stdout, stderr := o.do(t, redriveArgs("--all")...); status != exitDone || !strings.Contains(stdout, "applied") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	latest := o.broker.ReadAll(t, o.topics.DLQ)[1]
	all := o.broker.ReadAll(t, o.topics.Redrive)
	if len(all) != 1 {
		t.Fatalf("%d redrives were sent", len(all))
	}
	one, err := dlq.ParseRedrive(all[0])
	if want := (dlq.Place{Partition: latest.Partition, Offset: latest.Offset}); err != nil || one.Number != 3 || one.Place != want {
		t.Errorf("redrive %d of %v, want 3 of %v: %v", one.Number, one.Place, want, err)
	}
}

// The plan says that what was discarded is opened again, and that a pause keeps it waiting.
func TestDLQRedriveSaysWhatAwaitsIt(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.app.quiet = 100 * time.Millisecond
	o.topics.write(t, o.topics.deadLetter(1, dlq.ReasonCRMNotFound, 1, 0))
	id := o.ids(t)[0]
	o.must(t, "dlq", "discard", id, "--note=left", "--yes")
	o.must(t, "pause", "--actor=sample@host", "--yes")
	status, _, stderr := o.do(t, redriveArgs(id)...)
	for _, want := range []string{"of these discarded: 1; a redrive opens them again\n", "calls were paused by an operator, sample@host: what is sent waits until membersync resume\n"} {
		if status != exitPart || !strings.Contains(stderr, want) {
			t.Errorf("status %d, no %q: %s", status, want, stderr)
		}
	}
}

// A value that the mapping rejects would only fail again, as the value of the next dead letter.
func TestDLQRedriveWithAValueThatTheMappingRejects(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.topics.write(t, o.topics.deadLetter(1, dlq.ReasonCRMNotFound, 1, 0))
	id := o.ids(t)[0]
	o.files["bad.json"] = `{"after":`
	status, stdout, stderr := o.do(t, redriveArgs(id, "--value-file=bad.json")...)
	if status != exitFailed || !strings.Contains(stderr, "--value-file: refused: the mapping rejects the edited value (malformed: ") ||
		strings.Contains(stderr, "to redrive") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	status, stdout, _ = o.do(t, append(redriveArgs(id, "--value-file=bad.json"), "--dry-run")...)
	if status != exitFailed || !strings.Contains(stdout, "would refuse") || !strings.Contains(stdout, "rejected: malformed") {
		t.Errorf("dry run: status %d: %s", status, stdout)
	}
	if sent, records := o.broker.ReadAll(t, o.topics.Redrive), o.broker.ReadAll(t, o.topics.Audit); len(sent)+len(records) > 0 {
		t.Errorf("%d redrives, %d audit records", len(sent), len(records))
	}
}

// A service that was killed stays a member of its group for a while: the command says that no
// result arrives, and once the member is gone, that no instance runs.
func TestDLQRedriveWhileTheServiceIsKilled(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.app.quiet = 100 * time.Millisecond
	o.topics.write(t, o.topics.deadLetter(1, dlq.ReasonCRMNotFound, 1, 0))
	dead, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: o.variable("KAFKA_GROUP"), Brokers: o.broker.Addrs(), Topics: []string{o.topics.Source},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dead.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan int)
	go func() { done <- o.app.run(t.Context(), redriveArgs("--all")) }()
	o.errs.await(t, "no result has arrived yet; 1 instance")
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	if status := <-done; status != exitPart || !strings.Contains(o.errs.String(), "no instance of the service is running") {
		t.Errorf("status %d: %s", status, o.errs)
	}
	if n := strings.Count(o.errs.String(), "no result has arrived"); n != 1 {
		t.Errorf("it is said %d times that no result comes", n)
	}
}

// Ctrl-C stops between two items, at the rate.
func TestDLQRedriveInterrupted(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	for i := range int64(50) {
		o.topics.write(t, o.topics.deadLetter(i, dlq.ReasonCRMNotFound, int(i), 0))
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan int)
	began := time.Now()
	go func() { done <- o.app.run(ctx, redriveArgs("--all", "--rate=5")) }()
	for o.broker.Ends(t, o.topics.Redrive)[0]+o.broker.Ends(t, o.topics.Redrive)[1]+o.broker.Ends(t, o.topics.Redrive)[2] < 5 {
		if t.Context().Err() != nil {
			t.Fatal("nothing is sent")
		}
	}
	took := time.Since(began)
	cancel(&interrupt.Error{Signal: os.Interrupt})
	if status := <-done; status != exitInterrupted {
		t.Errorf("status %d: %s", status, o.errs)
	}
	if took < 4*200*time.Millisecond {
		t.Errorf("5 at 5 a second took %v", took)
	}
	wantNoneRecordedAlone(t, o)
}

// wantNoneRecordedAlone wants every redrive that is recorded to be sent.
func wantNoneRecordedAlone(t *testing.T, o *opsRig) {
	t.Helper()
	sent := len(o.broker.ReadAll(t, o.topics.Redrive))
	if got := len(o.ids(t, "--state=redriving")); got != sent || sent == 0 {
		t.Errorf("%d are redriving, %d were sent", got, sent)
	}
}

// Ctrl-C comes while an item is recorded: it is sent all the same.
func TestDLQRedriveInterruptedWhileItRecords(t *testing.T) {
	t.Parallel()
	o := newOpsRigOn(t, kafkatest.StartFake(t))
	o.topics.write(t, o.topics.deadLetter(1, dlq.ReasonCRMNotFound, 1, 0), o.topics.deadLetter(2, dlq.ReasonCRMNotFound, 2, 0))
	ctx, cancel := context.WithCancelCause(t.Context())
	o.broker.Fake().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if p, ok := req.(*kmsg.ProduceRequest); ok && p.Topics[0].Topic == o.topics.Audit {
			cancel(&interrupt.Error{Signal: os.Interrupt})
		}
		return nil, nil, false
	})
	if status := o.app.run(ctx, redriveArgs("--all")); status != exitInterrupted {
		t.Errorf("status %d: %s", status, o.errs)
	}
	wantNoneRecordedAlone(t, o)
}

// Redis emptied after the incident: what is dead stays known, and nothing is redriven until the
// state is there again.
func TestDLQRedriveAfterTheStateWasLost(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.must(t, "offsets", "reset", "--to=latest", "--yes")
	o.topics.write(t, o.topics.deadLetter(1, dlq.ReasonCRMNotFound, 1, 0))
	o.state.empty(t)
	if got := o.ids(t); len(got) != 1 {
		t.Errorf("listed %v", got)
	}
	status, _, stderr := o.do(t, redriveArgs("--all")...)
	if status != exitFailed || !strings.Contains(stderr, "membersync state rebuild") || len(o.broker.ReadAll(t, o.topics.Redrive)) != 0 {
		t.Errorf("status %d: %s", status, stderr)
	}
	if got := o.must(t, "dlq", "show", "0:1:0"); !strings.Contains(got, "newer values: unknown") {
		t.Error(got)
	}
}

func TestDLQRedriveBadUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--all --value-file=x": "--value-file: is for one id", "": "say which", "--all --rate=x": "--rate", "--all --wait=x": "--wait",
	} {
		r := newService(t)
		if status := r.run(t, append([]string{"dlq", "redrive"}, strings.Fields(args)...)...); status != exitUsage || !strings.Contains(r.errs.String(), want) {
			t.Errorf("%s: status %d: %s", args, status, r.errs)
		}
	}
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	if got := progressLine(25, 100, 10*time.Second); got != "[#######.......................] 25 of 100, 30s to go" {
		t.Error(got)
	}
	if got := progressLine(0, 0, 0); got != "0 done" {
		t.Error(got)
	}
}
