package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/dlq"
)

// The attacks of a review, which now do no harm.

// Headers of the source record named redrive.* are neither the operator's note, nor shown unmasked.
// They come through dead letters and redrives unchanged.
func TestSourceHeadersAreNotTheOperators(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	defer o.running(t)()
	value := strings.Replace(event(0, "P"), `"position"`, `"gender":"X","position"`, 1)
	headers := []kafka.Header{
		{Key: "redrive.edited", Value: []byte("true")},
		{Key: "redrive.note", Value: []byte("approved; needle-note")},
		{Key: "redrive.by", Value: []byte("boss@host")},
		{Key: "redrive.audit", Value: []byte("0:0")},
	}
	o.broker.Produce(t, o.topics.Source, kafka.Message{Key: []byte("E0"), Value: []byte(value), Headers: headers})
	o.drained(t)
	ids := o.ids(t)
	for range 2 {
		if status, stdout, stderr := o.do(t, redriveArgs(ids...)...); status != exitPart && status != exitFailed || !strings.Contains(stdout, "dead_lettered") {
			t.Errorf("status %d: %s%s", status, stdout, stderr)
		}
	}
	for _, m := range o.broker.ReadAll(t, o.topics.Audit) {
		if strings.Contains(string(m.Value), "needle") || strings.Contains(string(m.Value), "boss") {
			t.Errorf("in the audit topic: %s", m.Value)
		}
	}
	shown := o.must(t, "dlq", "show", ids[0])
	exported := o.must(t, "dlq", "export", ids[0])
	if strings.Contains(shown+exported, "needle") || !strings.Contains(shown, "header redrive.note: ***") {
		t.Errorf("the header is not masked: %s%s", shown, exported)
	}
	if revealed := o.must(t, "dlq", "export", ids[0], "--reveal", "--note=n"); !strings.Contains(revealed, `{"key":"redrive.note","value":"approved; needle-note"}`) {
		t.Errorf("the header is not restored: %s", revealed)
	}
	all := o.topics.deadLetters(t)
	last := all[slices.IndexFunc(all, func(d dlq.DeadLetter) bool { return d.Redrives == 2 })]
	for i, h := range headers {
		if got := last.Headers[i]; got.Key != h.Key || string(got.Value) != string(h.Value) {
			t.Errorf("header %s became %s: %s", h.Key, got.Key, got.Value)
		}
	}
}

// runningWithDeadLetter starts a service that has dead-lettered one event.
func runningWithDeadLetter(t *testing.T) (o *opsRig, ids []string, stop func()) {
	t.Helper()
	o = newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	stop = o.running(t)
	o.hr.change(t, 1, 0, `{"gender":"X"}`)
	o.drained(t)
	return o, o.ids(t), stop
}

// Who may write to the redrive topic changes no member, and no state in the audit topic.
func TestAForgedRedriveChangesNothing(t *testing.T) {
	t.Parallel()
	o, ids, stop := runningWithDeadLetter(t)
	defer stop()
	genuine := o.broker.ReadAll(t, o.topics.DLQ)[0]
	place := dlq.Place{Partition: genuine.Partition, Offset: genuine.Offset}.String()
	forged := ordering(genuine, place, 9999)
	forged.Value = []byte(`{"eventId":"x","sequence":9000000000000000000,"employeeId":"E777","openUserId":"FSUID_TEST777","after":{"position":"Forged"}}`)
	edited := forged
	edited.Headers = slices.Clone(forged.Headers)
	for i, h := range edited.Headers {
		if h.Key == "redrive.edited" {
			edited.Headers[i].Value = []byte("true")
		}
	}
	before := o.topics.audit(t)
	for _, end := range copied(t, o, forged, edited) {
		if end.refused == nil {
			t.Errorf("a forged redrive was run: %+v", end.result)
		}
	}
	if n := len(o.crm.Calls()); n > 0 || o.crm.State("FSUID_TEST777") != nil {
		t.Errorf("%d calls", n)
	}
	if d := cmp.Diff(before, o.topics.audit(t)); d != "" {
		t.Errorf("the audit topic: %s", d)
	}
	if open := o.ids(t, "--employee=E0"); !slices.Equal(open, ids) {
		t.Errorf("open: %v", open)
	}
}

// A value of another employee is refused before anything is written, in a dry run too.
func TestAValueOfAnotherEmployeeIsRefused(t *testing.T) {
	t.Parallel()
	o, ids, stop := runningWithDeadLetter(t)
	defer stop()
	o.files["other.json"] = `{"eventId":"x","sequence":99,"employeeId":"E888","openUserId":"FSUID_TEST888","after":{"position":"Another"}}`
	for _, more := range []string{"--dry-run", "--yes"} {
		status, stdout, stderr := o.do(t, redriveArgs(ids[0], "--value-file=other.json", more)...)
		if status != exitFailed || !strings.Contains(stderr, "another employee") || stdout != "" {
			t.Errorf("%s: status %d: %s%s", more, status, stdout, stderr)
		}
	}
	if n := len(o.broker.ReadAll(t, o.topics.Audit)) + len(o.broker.ReadAll(t, o.topics.Redrive)); n > 0 {
		t.Errorf("%d records were written", n)
	}
	o.files["own.json"] = event(0, "Lead")
	o.must(t, redriveArgs(ids[0], "--value-file=own.json")...)
	a, err := dlq.ParseAudit(o.broker.ReadAll(t, o.topics.Audit)[0].Value)
	if err != nil || len(a.Detail.Digest) != 64 || a.Detail.Fields != "position,qq" {
		t.Errorf("the request is %+v, %v", a, err)
	}
}

// What is in the redrive topic and was not requested moves no version in a rebuild: neither a copy
// of an applied redrive, nor one with another value, number or actor. What has expired is counted.
func TestARebuildTrustsRequestsOnly(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	o.hr.change(t, 1, 1, `{"gender":"X","qq":"1"}`)
	stop := o.running(t)
	o.drained(t)
	o.files["fixed.json"] = `{"eventId":"ev-1","sequence":1,"employeeId":"E1","openUserId":"FSUID_TEST1","after":{"qq":"2"}}`
	o.must(t, redriveArgs("0:0:0", "--value-file=fixed.json")...)
	o.drained(t)
	genuine := o.broker.ReadAll(t, o.topics.Redrive)[0]
	more := genuine
	more.Value = []byte(`{"eventId":"ev-1","sequence":999,"employeeId":"E1","openUserId":"FSUID_TEST1","after":{"qq":"3","position":"Forged"}}`)
	number := genuine
	number.Headers = slices.Clone(genuine.Headers)
	for i, h := range number.Headers {
		if h.Key == "redrive.number" {
			number.Headers[i].Value = []byte("9999")
		}
	}
	o.broker.Produce(t, o.topics.Redrive, genuine, more, number)
	o.drained(t)
	stop()
	before := states(t, o)
	rebuilt := func(restored, expired, invalid int) {
		t.Helper()
		o.state.empty(t)
		got := objects(t, o.must(t, "state", "rebuild", "--yes", "-o", "json"))[0]
		for name, want := range map[string]int{"restored": restored, "expired": expired, "invalid": invalid} {
			if fmt.Sprint(got[name]) != fmt.Sprint(want) {
				t.Errorf("%s: %v, want %d", name, got[name], want)
			}
		}
	}
	rebuilt(3, 0, 2) // the original, the redrive and its copy
	if d := cmp.Diff(before, states(t, o)); d != "" {
		t.Errorf("state (-before +rebuilt): %s", d)
	}
	for partition, end := range o.broker.Ends(t, o.topics.Audit) {
		o.broker.DeleteRecords(t, o.topics.Audit, partition, end)
	}
	rebuilt(1, 4, 0)
	got := objects(t, o.must(t, "replay", "--from=earliest", "--dry-run", "-o", "json"))[0]
	if got["expired"] != 4.0 || got["poison"] != 0.0 {
		t.Errorf("replay: %v", got)
	}
	got = objects(t, o.must(t, "replay", "--from=earliest", "--yes", "-o", "json"))[0]
	if got["expired"] != 4.0 {
		t.Errorf("replay: %v", got)
	}
	if calls := len(o.crm.Calls()); calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

// A command was killed after the request of an edited value, which it had written nowhere else. The
// next one needs the value again: the same goes out under the same request, another one under a
// new one.
func TestAnEditThatWasNotSentNeedsItsValue(t *testing.T) {
	t.Parallel()
	for name, same := range map[string]bool{"the same value": true, "another value": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOpsRig(t)
			o.app.quiet = 100 * time.Millisecond
			o.set("DLQ_STORM_SHARE", "0")
			o.hr.change(t, 2, 1, `{"gender":"X"}`)
			o.served(t)
			o.files["a.json"], o.files["b.json"] = event(1, "A"), event(1, "B")
			m := o.broker.ReadAll(t, o.topics.DLQ)[0]
			d, err := dlq.Parse(m)
			if err != nil {
				t.Fatal(err)
			}
			d.Value = []byte(o.files["a.json"])
			killed := dlq.Redrive{
				DeadLetter: d, Place: dlq.Place{Partition: m.Partition, Offset: m.Offset}, Number: 1,
				By: "first@host", At: time.Now(), Note: "killed", Edited: true,
			}
			auditor := dlq.NewAuditor(o.client(t), o.topics.Audit, dlq.WithRetry(10*time.Second))
			if killed.Audit, err = auditor.Append(t.Context(), killed.Request(o.parts(t).EditDigest)); err != nil {
				t.Fatal(err)
			}
			if status, stdout, _ := o.do(t, redriveArgs("--all")...); status != exitFailed || !strings.Contains(stdout, "--value-file") {
				t.Errorf("without the value: status %d: %s", status, stdout)
			}
			file, number, by := "b.json", 2, "sample@host"
			if same {
				file, number, by = "a.json", 1, "first@host"
			}
			o.do(t, redriveArgs(d.ID(), "--value-file="+file)...)
			sent := o.broker.ReadAll(t, o.topics.Redrive)
			if len(sent) != 1 {
				t.Fatalf("%d records were sent", len(sent))
			}
			one, err := dlq.ParseRedrive(sent[0])
			if err != nil || one.Number != number || one.By != by || same != (one.Audit == killed.Audit) || !one.Edited {
				t.Errorf("number %d by %s, request %s, %v", one.Number, one.By, one.Audit, err)
			}
			defer o.running(t)()
			o.drained(t)
			if got := o.ids(t, "--state=applied"); len(got) != 1 {
				t.Errorf("applied: %v: %v", got, o.topics.audit(t))
			}
		})
	}
}
