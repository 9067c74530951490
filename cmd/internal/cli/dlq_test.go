package cli

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/interrupt"
	"membersync/cmd/internal/test/goldentest"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// noAges takes out what depends on the time of the test.
func noAges(text string) string {
	text = regexp.MustCompile(`[0-9]+d[0-9]+h *`).ReplaceAllString(text, "AGE ")
	return regexp.MustCompile(`OLDEST {2,}`).ReplaceAllString(text, "OLDEST ") // the column is as wide as its ages
}

func filled(t *testing.T) *opsRig {
	t.Helper()
	o := newOpsRig(t)
	broken := o.topics.deadLetter(9, dlq.ReasonMalformed, 8, 0)
	broken.Value, broken.Key, broken.Whole, broken.EventID, broken.EmployeeID, broken.CRMCode = []byte("needle {"), nil, true, "", "", ""
	o.topics.write(t,
		o.topics.deadLetter(1, dlq.ReasonCRMInvalid, 5, 0), o.topics.deadLetter(2, dlq.ReasonCRMNotFound, 1, 0), o.topics.deadLetter(3, dlq.ReasonCRMNotFound, 2, 0),
		o.topics.deadLetter(4, dlq.ReasonCRMNotFound, 3, 0), o.topics.deadLetter(4, dlq.ReasonCRMInvalid, 7, 1), broken)
	return o
}

func TestDLQList(t *testing.T) {
	t.Parallel()
	o := filled(t)
	goldentest.Compare(t, "testdata/dlq-list-table.txt", o.must(t, "dlq", "list"))
	goldentest.Compare(t, "testdata/dlq-list-json.txt", o.must(t, "dlq", "list", "-o", "json"))
	goldentest.Compare(t, "testdata/dlq-list-groups.txt", noAges(o.must(t, "dlq", "list", "--group-by", "reason")))
	groups := objects(t, o.must(t, "dlq", "list", "--group-by=code", "-o", "json"))
	if len(groups) != 2 || groups[0]["group"] != "100001" || groups[0]["count"] != 4.0 || groups[0]["oldest_failed_at"] != "2026-11-22T08:01:00.000Z" {
		t.Errorf("groups: %v", groups)
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"latest":   {[]string{"--limit", "2"}, "0:4:0 0:9"},
		"reason":   {[]string{"--reason", "crm_not_found,malformed"}, "0:2:0 0:3:0 0:9"},
		"stage":    {[]string{"--stage", "decode"}, "0:9"},
		"code":     {[]string{"--code", "100001", "--employee=E2"}, "0:2:0"},
		"time":     {[]string{"--since", "2026-11-22T08:02:00Z", "--until", "2026-11-22T08:07:00Z"}, "0:3:0 0:1:0"},
		"ago":      {[]string{"--until", "1s"}, "0:2:0 0:3:0 0:1:0 0:4:0 0:9"},
		"state":    {[]string{"--state", "applied"}, ""},
		"all":      {[]string{"--state=all", "--limit=1"}, "0:9"},
		"no limit": {[]string{"--limit=0", "--reason=crm_invalid"}, "0:1:0 0:4:0"},
	} {
		var ids []string
		for _, one := range objects(t, o.must(t, append([]string{"dlq", "list", "-o", "json"}, tc.args...)...)) {
			id, _ := one["id"].(string)
			ids = append(ids, strings.TrimSuffix(id, sampleTime))
		}
		if got := strings.Join(ids, " "); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestDLQListOfNothing(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	if got := o.must(t, "dlq", "list"); got != itemTable().heading() {
		t.Errorf("printed %q", got)
	}
	r := newService(t)
	if status := r.run(t, "dlq", "list"); status != exitFailed || !strings.Contains(r.errs.String(), "does not exist") ||
		!strings.Contains(r.errs.String(), "has membersync run been started") {
		t.Errorf("status %d: %s", status, r.errs)
	}
}

func TestDLQListFollows(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.topics.write(t, o.topics.deadLetter(1, dlq.ReasonCRMInvalid, 1, 0))
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan int)
	go func() { done <- o.app.run(ctx, []string{"dlq", "list", "--follow", "--reason=crm_invalid"}) }()
	o.out.await(t, "0:1:0")
	o.topics.write(t, o.topics.deadLetter(2, dlq.ReasonCRMNotFound, 2, 0), o.topics.deadLetter(3, dlq.ReasonCRMInvalid, 2, 0))
	o.out.await(t, "0:3:0")
	cancel(&interrupt.Error{Signal: os.Interrupt})
	if status := <-done; status != exitInterrupted || strings.Contains(o.out.String(), "0:2:0") {
		t.Errorf("status %d: %s", status, o.out)
	}
}

func TestDLQBadUsage(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ args, want string }{
		"reason":               {"dlq list --reason=x", "--reason: should be of malformed, "},
		"state":                {"dlq list --state=x", "--state: should be of open, redriving, "},
		"stage":                {"dlq list --stage=x", "--stage: should be decode, map or update"},
		"group":                {"dlq list --group-by=x", "--group-by: should be cause, code, employee, error, reason or stage"},
		"since":                {"dlq list --since=yesterday", "--since: should be a time such as"},
		"limit":                {"dlq list --limit=-1", "--limit: should be a whole number from 0"},
		"counted, limited":     {"dlq list --group-by=reason --limit=1", "--limit: is for a list, not for --group-by"},
		"counted, followed":    {"dlq list --group-by=reason --follow", "--follow: is for a list, not for --group-by"},
		"shown, note":          {"dlq show 0:1:0 --note=x", "--note: needs --reveal"},
		"revealed, no note":    {"dlq show 0:1:0 --reveal", "required flag with --reveal: --note TEXT"},
		"exported, no note":    {"dlq export --reveal --note= --actor=x", "required flag with --reveal: --note TEXT"},
		"exported, actor":      {"dlq export --actor=x", "--actor: needs --reveal"},
		"exported, two ways":   {"dlq export 0:1:0 --reason=malformed", "say which: ids or filters, and only one of them"},
		"exported, with state": {"dlq export 0:1:0 --state=all", "say which: ids or filters, and only one of them"},
		"argument":             {"dlq list 0:1:0", "1 argument given, none allowed"},
		"id":                   {"dlq show x", "invalid id \"x\": it does not have two or three parts"},
		"an id's timestamp":    {"dlq redrive 3:1042:0@noon", "its timestamp is not a decimal number, or too large; want partition:offset:index@timestamp"},
		"no id":                {"dlq show", "give the id of a dead letter"},
		"nothing":              {"dlq discard --note=x", "say which: ids, filters or --all, and only one of them"},
		"both":                 {"dlq discard --note=x --all 0:1:0", "say which"},
		"no note":              {"dlq discard --all", "required flag: --note TEXT (the reason, recorded in the audit topic)"},
	} {
		r := newService(t)
		if status := r.run(t, strings.Fields(tc.args)...); status != exitUsage || !strings.Contains(r.errs.String(), tc.want) {
			t.Errorf("%s: status %d: %s", name, status, r.errs)
		}
	}
}

func TestDLQShow(t *testing.T) {
	t.Parallel()
	o := filled(t)
	parts := o.parts(t)
	// A newer event has set one of the two fields.
	newer := mapper.Record{Topic: o.topics.Source, Offset: 90, Time: o.hr.at, Value: []byte(event(90, "x"))}
	version := string(parts.Mapping.MapWith(newer, nil)[0].Event.Version)
	err := parts.Store.Restore(t.Context(), dedupe.NewMember(o.variable("CRM_BASE_URL"), "C1", "FSUID_TEST4"), []dedupe.DoneEvent{{
		ID: dedupe.NewEventID(o.topics.Source, "newer", 0, "90"), Outcome: "applied", Version: version, Fields: []string{"qq"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	auditor := dlq.NewAuditor(o.client(t), o.topics.Audit, dlq.WithRetry(10*time.Second))
	err = auditor.Write(t.Context(), dlq.AuditRecord{
		At: o.hr.at.Add(6 * 60e9), Actor: "sample@host", Action: dlq.ActionRedrive, Subject: "0:4:0" + sampleTime, Note: "fixed", Result: dlq.ResultRequested,
		Detail: dlq.Detail{Number: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	status, table, stderr := o.do(t, "dlq", "show", "0:4:0")
	if status != exitDone || stderr != "" {
		t.Errorf("status %d: %s", status, stderr)
	}
	goldentest.Compare(t, "testdata/dlq-show-table.txt", noAges(table))
	asJSON := o.must(t, "dlq", "show", "0:4:0", "-o", "json")
	goldentest.Compare(t, "testdata/dlq-show-json.txt", asJSON)
	whole := o.must(t, "dlq", "show", "0:9")
	for _, text := range []string{table, asJSON, whole, o.must(t, "dlq", "export", "--state=all")} {
		if strings.Contains(text, "needle") {
			t.Errorf("personal data is shown: %s", text)
		}
	}
	if len(o.topics.audit(t)) != 1 {
		t.Errorf("audit: %q", o.topics.audit(t))
	}
}

func TestDLQShowReveals(t *testing.T) {
	t.Parallel()
	o := filled(t)
	text := o.must(t, "dlq", "show", "0:4:0", "--reveal", "--actor=sample@host", "--note=checking")
	for _, want := range []string{`"position": "needle-position"`, "header trace: needle-header", `"needle-qq"`} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %s: %s", want, text)
		}
	}
	if text := o.must(t, "dlq", "show", "0:9", "--reveal", "--note=bytes", "--actor=sample@host"); !strings.Contains(text, `"needle {"`) {
		t.Errorf("bytes are not shown: %s", text)
	}
	got := o.topics.audit(t)
	slices.Sort(got)
	want := []string{"reveal 0:4:0" + sampleTime + " done sample@host checking", "reveal 0:9" + sampleTime + " done sample@host bytes"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Without the acknowledgement nothing is shown.
func TestDLQRevealNeedsTheAuditTopic(t *testing.T) {
	t.Parallel()
	o := filled(t)
	o.set("AUDIT_TOPIC", "gone-"+o.topics.Audit)
	for _, args := range [][]string{{"dlq", "show", "0:4:0", "--reveal", "--note=why"}, {"dlq", "export", "--reveal", "--note=why"}} {
		status, stdout, stderr := o.do(t, args...)
		if status != exitFailed || stdout != "" || !strings.Contains(stderr, "nothing is revealed") {
			t.Errorf("%v: status %d: %s%s", args, status, stdout, stderr)
		}
	}
}

// Redis away or emptied takes nothing but the comparison with newer events.
func TestDLQShowWithoutRedis(t *testing.T) {
	t.Parallel()
	o := filled(t)
	o.set("REDIS_URL", "redis://127.0.0.1:1")
	status, stdout, stderr := o.do(t, "dlq", "show", "0:4:0")
	if status != exitDone || !strings.Contains(stdout, "newer values: unknown") || !strings.Contains(stderr, "it is unknown which") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	status, _, stderr = o.do(t, "dlq", "show", "0:77:0")
	want := "membersync dlq show: unknown dead letter 0:77:0\n" +
		"membersync dlq show: membersync dlq list --state all lists those that the dead-letter topic holds\n"
	if status != exitFailed || stderr != want {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func TestDLQExport(t *testing.T) {
	t.Parallel()
	o := filled(t)
	goldentest.Compare(t, "testdata/dlq-export.txt", o.must(t, "dlq", "export", "0:4:0", "0:9"))
	revealed := objects(t, o.must(t, "dlq", "export", "--reveal", "--note=why", "--reason=malformed,crm_invalid", "--actor=sample@host"))
	if len(revealed) != 3 || revealed[2]["value"] == nil || len(o.topics.audit(t)) != 3 {
		t.Errorf("revealed %v; audit %q", revealed, o.topics.audit(t))
	}
	goldentest.Compare(t, "testdata/dlq-export-table.txt", o.must(t, "dlq", "export", "-o", "table", "0:4:0", "0:9"))
	shown := o.must(t, "dlq", "export", "-o=table", "--reveal", "--note=why", "0:4:0", "0:9")
	if !strings.Contains(shown, "needle-position") || !strings.Contains(shown, `"needle {"`) {
		t.Errorf("nothing is revealed: %s", shown)
	}
	if status, stdout, _ := o.do(t, "dlq", "export", "-o", "json", "0:4:0", "7:7:7"); status != exitPart || len(objects(t, stdout)) != 1 {
		t.Errorf("status %d: %s", status, stdout)
	}
}

func TestDLQDiscard(t *testing.T) {
	t.Parallel()
	o := filled(t)
	status, stdout, stderr := o.do(t, "dlq", "discard", "--reason=crm_not_found", "--note=gone", "--actor=sample@host")
	if status != exitFailed || stdout != "" || !strings.Contains(stderr, "--yes") || len(o.topics.audit(t)) != 0 {
		t.Errorf("without --yes: status %d: %s%s", status, stdout, stderr)
	}
	goldentest.Compare(t, "testdata/dlq-discard-dry.txt", o.must(t, "dlq", "discard", "--reason=crm_not_found", "--dry-run"))
	if len(o.topics.audit(t)) != 0 {
		t.Error("a dry run writes")
	}
	discard := []string{"dlq", "discard", "--reason=crm_not_found", "--note=gone", "--actor=sample@host", "--yes"}
	status, stdout, stderr = o.do(t, discard...)
	goldentest.Compare(t, "testdata/dlq-discard.txt", stdout+"stderr\n"+noAges(stderr))
	if status != exitDone {
		t.Errorf("status %d", status)
	}
	if d := cmp.Diff([]string{"discard 0:2:0" + sampleTime + " done sample@host gone", "discard 0:3:0" + sampleTime + " done sample@host gone"}, sorted(o.topics.audit(t))); d != "" {
		t.Error(d)
	}
	if got := len(objects(t, o.must(t, "dlq", "list", "--state=discarded", "-o", "json"))); got != 2 {
		t.Errorf("%d are discarded", got)
	}
	status, stdout, _ = o.do(t, "dlq", "discard", "0:2:0", "0:1:0", "5:5", "--note=x", "--yes", "-o", "json")
	want := `{"id":"0:2:0` + sampleTime + `","result":"discarded before","detail":""}` + "\n" +
		`{"id":"0:1:0` + sampleTime + `","result":"discarded","detail":""}` + "\n" +
		`{"id":"5:5","result":"failed","detail":"unknown dead letter"}` + "\n"
	if d := cmp.Diff(want, stdout); d != "" || status != exitPart {
		t.Errorf("status %d: %s", status, d)
	}
}

func sorted(all []string) []string {
	slices.Sort(all)
	return all
}

func TestAsking(t *testing.T) {
	t.Parallel()
	for answer, status := range map[string]int{"y\n": exitDone, "Yes\n": exitDone, "n\n": exitFailed, "": exitFailed} {
		o := filled(t)
		o.app.Terminal, o.app.Stdin = true, strings.NewReader(answer)
		got, _, stderr := o.do(t, "dlq", "discard", "0:1:0", "--note=x")
		if got != status || !strings.Contains(stderr, "Discard? [y/N] ") || len(o.topics.audit(t)) != 1-status {
			t.Errorf("%q: status %d, audit %q: %s", answer, got, o.topics.audit(t), stderr)
		}
	}
}
