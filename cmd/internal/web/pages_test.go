package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"membersync/dlq"
)

// From the alarm to the cause, the plan and the result: the CRM does not know a member, it is
// created, and the dead letter is redriven.
func TestRedrive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Start(nil)
	r.produce(1)
	r.produce(2)
	b := r.operator()
	b.eventually("/", `<a href="/dead-letters">2</a>`)
	groups := b.must("/dead-letters")
	link := unescape(regexp.MustCompile(`href="(/dead-letters\?cause=[^"]*)"`).FindStringSubmatch(groups)[1])
	list := b.must(link)
	one := "/dead-letters/" + regexp.MustCompile(`href="/dead-letters/(0[^"]*)"`).FindStringSubmatch(list)[1]
	text := b.must(one)
	for _, want := range []string{"The CRM does not know", "Runbook: crm_not_found", "<strong>Check:</strong>", "<pre><code", "position", "***", "crm_not_found"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %q", one, want)
		}
	}
	if strings.Contains(groups+list+text, "needle") {
		t.Error("a value is shown")
	}
	if p := b.submit(b.must("/replays"), "/replays/plan", "from", "earliest"); !strings.Contains(p.text, "whose dead letter is open: 2.") {
		t.Errorf("plan of a replay: %s", p.text)
	}
	for n := 1; n <= 2; n++ {
		r.CRM.SetMember(fmt.Sprintf("FSUID_TEST%d", n), nil)
	}
	export := unescape(regexp.MustCompile(`href="(/dead-letters/export[^"]*)"`).FindStringSubmatch(list)[1])
	if got := b.must(export); strings.Count(got, "\n") != 2 || strings.Contains(got, "needle") {
		t.Errorf("export: %s", got)
	}
	plan := b.submit(list, "/dead-letters/plan", "scope", "all", "kind", "redrive")
	if !strings.Contains(plan.text, "at most 2") || !strings.Contains(plan.text, "Redrive 2</button>") || !strings.Contains(plan.text, r.Group) {
		t.Fatalf("plan: status %d: %s", plan.status, plan.text)
	}
	started := b.submit(plan.text, "/jobs", "note", "created in the CRM", "canary", "1")
	if started.status != http.StatusSeeOther {
		t.Fatalf("status %d: %s", started.status, started.text)
	}
	done := b.eventually(started.header.Get("Location"), `<span class="tag ok">done</span>`)
	if !strings.Contains(done, "applied: 2") || !strings.Contains(done, "Results: 2 of 2") {
		t.Error(done)
	}
	b.eventually("/", `<a href="/dead-letters">0</a>`)
	if got := b.must("/audit?action=redrive"); strings.Count(got, "created in the CRM") != 4 || !strings.Contains(got, "sample (unverified)") {
		t.Error(got)
	}
	short, _, _ := strings.Cut(strings.TrimPrefix(one, "/dead-letters/"), "@")
	if got := b.must("/audit?action=redrive&subject=" + short); strings.Count(got, "created in the CRM") != 1 {
		t.Errorf("by the short id: %s", got)
	}
	if got := b.must(one); !strings.Contains(got, "redrive_result") || !strings.Contains(got, `<span class="tag ok">applied</span>`) {
		t.Error(got)
	}
}

// Two operators redrive the same dead letter at once: it is sent once.
func TestTwoOperators(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Start(nil)
	r.produce(1)
	one, other := r.operator(), r.operator()
	list := one.eventually("/dead-letters?q=state:open", "E1")
	r.CRM.SetMember("FSUID_TEST1", nil)
	before := r.CRM.Stats().Requests
	plans := []string{
		one.submit(list, "/dead-letters/plan", "scope", "all", "kind", "redrive").text,
		other.submit(other.must("/dead-letters?q=state:open"), "/dead-letters/plan", "scope", "all", "kind", "redrive").text,
	}
	first, second := one.submit(plans[0], "/jobs"), other.submit(plans[1], "/jobs")
	one.eventually(first.header.Get("Location"), "applied: 1")
	if second.status == http.StatusSeeOther { // it was still open then
		other.eventually(second.header.Get("Location"), "since the plan")
	}
	if n := r.CRM.Stats().Requests - before; n != 1 {
		t.Errorf("%d calls", n)
	}
}

// Values are shown once the audit topic has who looks at them and why, and not without a note.
func TestReveal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.writeDeadLetters(sampleDeadLetter(1))
	b := r.operator()
	path := "/dead-letters/0:1:0@1795334400000"
	text := b.eventually(path, "0:1:0")
	if p := b.submit(text, path+"/reveal", "note", " "); p.status != http.StatusUnprocessableEntity || strings.Contains(p.text, "needle") {
		t.Errorf("without a note: status %d", p.status)
	}
	if lines := r.audit(); len(lines) != 0 || strings.Contains(text, "needle") {
		t.Errorf("audit %v, page %s", lines, text)
	}
	p := b.submit(text, path+"/reveal", "note", "ticket 7")
	if p.status != http.StatusOK || !strings.Contains(p.text, "needle-position") || !strings.Contains(p.text, "needle-header") {
		t.Errorf("status %d: %s", p.status, p.text)
	}
	if got, want := r.audit(), "reveal 0:1:0@1795334400000 done sample (unverified) ticket 7"; len(got) != 1 || got[0] != want {
		t.Errorf("audit %q, want %q", got, want)
	}
	if strings.Contains(b.must("/dead-letters/export?q=state:all"), "needle") {
		t.Error("the export shows values")
	}
}

// An edited value is checked by the mapping before it can be sent.
func TestEdit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.Start(nil)
	r.produce(1)
	b := r.operator()
	list := b.eventually("/dead-letters?q=state:open", "E1")
	path := unescape(regexp.MustCompile(`href="(/dead-letters/0[^"]*)"`).FindStringSubmatch(list)[1])
	form := b.submit(b.must(path), path+"/reveal", "note", "n") // for its csrf only
	form = b.do(http.MethodPost, path+"/edit", url.Values{"csrf": {csrfOf(form.text)}, "note": {"wrong id"}})
	value := unescape(regexp.MustCompile(`(?s)<textarea id="value"[^>]*>\n(.*?)</textarea>`).FindStringSubmatch(form.text)[1])
	if !strings.Contains(value, "needle-position") {
		t.Fatalf("status %d: %s", form.status, form.text)
	}
	send := func(value string) page {
		return b.submit(form.text, path+"/edited", "value", value)
	}
	for name, c := range map[string]struct {
		value string
		want  int
	}{
		"no JSON":          {value[1:], http.StatusUnprocessableEntity},
		"another employee": {strings.ReplaceAll(value, `"E1"`, `"E2"`), http.StatusUnprocessableEntity},
		"nothing to send":  {strings.ReplaceAll(value, `"position": "needle-position"`, ""), http.StatusUnprocessableEntity},
	} {
		p := send(c.value)
		if p.status != c.want || strings.Contains(p.text, `action="/jobs"`) || !strings.Contains(unescape(p.text), c.value) {
			t.Errorf("%s: status %d, want %d: %s", name, p.status, c.want, p.text)
		}
	}
	r.CRM.SetMember("FSUID_TEST1", nil)
	// A browser sends lines with \r\n, and the plan's form sends the value once more.
	plan := send(strings.ReplaceAll(strings.ReplaceAll(value, "needle-position", "edited position"), "\n", "\r\n"))
	if plan.status != http.StatusOK {
		t.Fatalf("status %d: %s", plan.status, plan.text)
	}
	started := b.submit(plan.text, "/jobs", "note", "edited")
	b.eventually(started.header.Get("Location"), "applied: 1")
	if got := string(r.CRM.State("FSUID_TEST1")["position"]); got != `"edited position"` {
		t.Errorf("the CRM has %s", got)
	}
}

func csrfOf(text string) string {
	return regexp.MustCompile(`name="csrf" value="([^"]*)"`).FindStringSubmatch(text)[1]
}

// A discard needs a note; of more than 100 the count is typed; a selection that has changed is
// planned again.
func TestDiscard(t *testing.T) {
	t.Parallel()
	const n = 120
	r := newRig(t)
	var all []dlq.DeadLetter
	for i := range n {
		all = append(all, sampleDeadLetter(int64(i)))
	}
	r.writeDeadLetters(all...)
	b := r.operator()
	list := b.eventually("/dead-letters?q=reason:invalid_field", "1 to 50 of 120")
	if text := b.must("/dead-letters?q=reason:invalid_field&page=2"); !strings.Contains(text, "101 to 120 of 120") {
		t.Error(text)
	}
	plan := b.submit(list, "/dead-letters/plan", "scope", "all", "kind", "discard").text
	for name, pairs := range map[string][]string{
		"no note": {"typed", "120"}, "not typed": {"note", "n"}, "typed wrong": {"note", "n", "typed", "12"},
		"changed": {"note", "n", "typed", "120", "count", "119"},
	} {
		if p := b.submit(plan, "/jobs", pairs...); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.text, "role=\"alert\"") {
			t.Errorf("%s: status %d", name, p.status)
		}
	}
	late := sampleDeadLetter(n) // it fails while the plan is looked at
	late.FailedAt = time.Now()
	r.writeDeadLetters(late)
	b.eventually("/dead-letters?q=reason:invalid_field", "of 121")
	p := b.submit(plan, "/jobs", "note", "left the company", "typed", "120")
	b.eventually(p.header.Get("Location"), "discarded: 120")
	b.eventually("/dead-letters?q=state:open", "1 to 1 of 1")
}

// A job that waits for results can be canceled; the next one then runs.
func TestCancel(t *testing.T) {
	t.Parallel()
	r := newRig(t) // no instance of the service runs
	r.writeDeadLetters(sampleDeadLetter(1), sampleDeadLetter(2))
	b := r.operator()
	start := func(id string) string {
		list := b.eventually("/dead-letters?q=state:open", id)
		form := hidden(t, list, "/dead-letters/plan")
		form.Set("kind", "redrive")
		form.Set("id", id+"@1795334400000")
		plan := b.do(http.MethodPost, "/dead-letters/plan", form)
		return b.submit(plan.text, "/jobs").header.Get("Location")
	}
	if text := b.must("/"); strings.Contains(text, "without a result yet") {
		t.Error(text)
	}
	first, second := start("0:1:0"), start("0:2:0")
	b.eventually("/dead-letters?q=state:redriving", "0:1:0")
	b.eventually("/", "Redriven, without a result yet: 1.")
	if text := b.must(second); !strings.Contains(text, "waits for an earlier job") {
		t.Error(text)
	}
	b.submit(b.must(first), first+"/cancel")
	b.eventually(first, "canceled</span>")
	b.eventually(second, "running</span>")
	b.submit(b.must(second), second+"/cancel")
	b.eventually(second, "canceled</span>")
}

// A page that was opened before another operator paused the calls does not end that pause.
func TestAPauseThatThePageDoesNotShowIsKept(t *testing.T) {
	t.Parallel()
	b := newRig(t).operator()
	before := b.must("/")
	b.submit(before, "/pause", "note", "first")
	if p := b.submit(before, "/pause", "note", "second"); p.status != http.StatusConflict || !strings.Contains(p.text, "another operator has paused") {
		t.Errorf("status %d: %s", p.status, p.text)
	}
	shown := b.eventually("/", `action="/resume"`)
	b.submit(shown, "/resume")
	b.submit(b.eventually("/", `action="/pause"`), "/pause", "note", "third")
	if p := b.submit(shown, "/resume"); p.status != http.StatusConflict {
		t.Errorf("status %d: %s", p.status, p.text)
	}
}

// HTML, scripts and control characters of events are shown as text, on every page.
func TestMalformedEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const markup = `"><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}` + "\u202e\u200b\x1b[31m"
	d := sampleDeadLetter(1)
	d.EventID, d.EmployeeID, d.Error, d.CRMCode = markup, markup, markup, markup
	d.CRMTraceID, d.ThirdTraceID, d.Group, d.Version = markup, markup, markup, markup
	d.Key, d.Headers = []byte(markup), []dlq.Header{{Key: markup, Value: []byte(markup)}}
	d.Value = []byte(`{"` + `\"><script>alert(1)</script>":"</pre><script>alert(2)</script>","x":"` + "\u202e" + `"}`)
	r.writeDeadLetters(d)
	b := r.operator()
	path := "/dead-letters/0:1:0@1795334400000"
	first := b.eventually(path, "0:1:0")
	b.submit(b.must("/"), "/pause", "note", markup)
	plan := url.Values{"csrf": {csrfOf(first)}, "id": {"0:1:0@1795334400000"}, "note": {markup}}
	texts := map[string]string{"one": first}
	for _, at := range []string{
		"/", "/dead-letters", "/dead-letters?q=state:all", "/audit", "/replays", "/audit?actor=" + url.QueryEscape(markup),
		"/dead-letters?cause=" + url.QueryEscape(markup), "/employees/" + url.PathEscape(markup), "/mapping", "/login?next=" + url.QueryEscape("/"+markup),
		"/dead-letters/" + url.PathEscape(markup),
	} {
		texts[at] = b.get(at).text
	}
	for _, at := range []string{path + "/reveal", path + "/edit", "/dead-letters/plan"} {
		texts[at] = b.do(http.MethodPost, at, plan).text
	}
	tried := url.Values{"csrf": {csrfOf(first)}, "value": {markup}, "file": {markup}, "key": {markup}}
	texts["try"] = b.do(http.MethodPost, "/mapping", tried).text
	for at, text := range texts {
		if strings.Contains(text, "<script>") || strings.Contains(text, "<img") || strings.ContainsAny(text, "\u202e\u200b\x1b") {
			t.Errorf("%s is not escaped: %s", at, text)
		}
	}
}

// An event is tried with the running mapping or with a file, which may use no lookups but its own.
func TestMapping(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.operator()
	form := b.must("/mapping")
	event := `{"eventId":"ev-1","sequence":1,"employeeId":"E1","openUserId":"FSUID_TEST1","after":{"gender":"X"}}`
	if p := b.submit(form, "/mapping", "value", event); !strings.Contains(p.text, "invalid_field") {
		t.Errorf("status %d: %s", p.status, p.text)
	}
	if p := b.submit(form, "/mapping", "value", strings.ReplaceAll(event, `"X"`, `"F"`)); !strings.Contains(p.text, "update") || !strings.Contains(p.text, "gender") {
		t.Errorf("status %d: %s", p.status, p.text)
	}
	for _, file := range []string{"version: 1\nlookups: {other: {file: /etc/passwd}}\n", "version: 1\nlookups: {other: {redis: any}}\n", "nonsense: ["} {
		if p := b.submit(form, "/mapping", "value", event, "file", file); p.status != http.StatusUnprocessableEntity || strings.Contains(p.text, "root:") {
			t.Errorf("%q: status %d: %s", file, p.status, p.text)
		}
	}
}

// The page of an employee says why the CRM shows what it shows; a replay is planned, with its
// command.
func TestEmployeeAndReplay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.CRM.SetMember("FSUID_TEST1", nil)
	r.Start(nil)
	r.produce(1)
	b := r.operator()
	text := b.eventually("/employees/E1?since=all", "was applied")
	if !strings.Contains(text, "membersync replay --from earliest --employee E1") || strings.Contains(text, "needle") || !strings.Contains(text, "position") {
		t.Error(text)
	}
	if p := b.get("/employees?id=a%2Fb"); p.header.Get("Location") != "/employees/a%2Fb" {
		t.Errorf("location %q", p.header.Get("Location"))
	}
	chart := b.eventually("/replays", `<polyline class="line warn"`)
	p := b.submit(chart, "/replays/plan", "from", "earliest", "employee", "E1", "reapply", "yes")
	for _, want := range []string{
		"membersync replay --from earliest --employee E1 --reapply", "At least 1 call, ", "The first 1 member, masked", "<div>position: ***</div>",
		`<td class="id">position</td><td class="num">1</td>`, "Reads 1 offset. ",
	} {
		if p.status != http.StatusOK || !strings.Contains(p.text, want) || strings.Contains(p.text, "needle") {
			t.Errorf("status %d, no %q: %s", p.status, want, p.text)
		}
	}
	p = b.submit(b.must("/replays"), "/replays/plan", "from", "0:0", "to", "0:1")
	if !strings.Contains(p.text, "membersync replay --from 0:0 --to 0:1") {
		t.Errorf("status %d: %s", p.status, p.text)
	}
	p = b.submit(b.must("/replays"), "/replays/plan", "from", "earliest", "employee", "E4711")
	if !strings.Contains(p.text, "No record in the range is of employee E4711.") {
		t.Errorf("status %d: %s", p.status, p.text)
	}
	p = b.submit(b.must("/replays"), "/replays/plan", "from", "0:1", "to", "0:0")
	if p.status != http.StatusUnprocessableEntity || !strings.Contains(p.text, "the range ends at 0:0, which is not after its beginning 0:1") {
		t.Errorf("status %d: %s", p.status, p.text)
	}
	for _, from := range []string{"nonsense", " ", "+2h", "0:0 0:1", "earliest 0:0"} {
		if p := b.submit(b.must("/replays"), "/replays/plan", "from", from); p.status != http.StatusUnprocessableEntity {
			t.Errorf("%q: status %d", from, p.status)
		}
	}
}

// A replay that no process runs is shown with the command that resumes it.
func TestStoppedReplay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.writeAudit(dlq.AuditRecord{
		Actor: "sample", Action: dlq.ActionReplay, Subject: r.Group + ".replay.k3v6d2q7ab", Result: dlq.ResultRequested,
		Detail: dlq.Detail{Records: 3},
	})
	r.operator().eventually("/replays", "<code>membersync replay --resume k3v6d2q7ab</code>")
}

// While Kafka and Redis are unreachable, the pages say so.
func TestWithoutServers(t *testing.T) {
	t.Parallel()
	r := newRig(t, "KAFKA_BROKERS", "127.0.0.1:1", "REDIS_URL", "redis://127.0.0.1:1")
	b := r.operator()
	if text := b.must("/"); !strings.Contains(text, "Redis does not respond") {
		t.Error(text)
	}
	b.eventually("/dead-letters", "cannot be read since")
	b.must("/audit")
	b.must("/replays")
}

// sampleDeadLetter is that of a made-up event; its values must not be seen.
func sampleDeadLetter(offset int64) dlq.DeadLetter {
	at := time.UnixMilli(1795334400000).UTC()
	return dlq.DeadLetter{
		Key:     fmt.Appendf(nil, "E%d", offset),
		Value:   fmt.Appendf(nil, `{"eventId":"ev-%d","sequence":%d,"employeeId":"E%d","openUserId":"FSUID_TEST%[1]d","after":{"position":"needle-position"}}`, offset, offset+1, offset),
		Headers: []dlq.Header{{Key: "trace", Value: []byte("needle-header")}},
		Source:  dlq.Source{Topic: "sample", Partition: 0, Offset: offset, Timestamp: at},
		Reason:  dlq.ReasonInvalidField, Error: "after.gender is neither M nor F", EventID: fmt.Sprintf("ev-%d", offset), EmployeeID: fmt.Sprintf("E%d", offset),
		Count: 1, FirstFailedAt: at, FailedAt: at, Group: "membersync", Version: "v1",
	}
}

func (r *rig) writeDeadLetters(all ...dlq.DeadLetter) {
	r.t.Helper()
	for _, d := range all {
		r.Broker.Produce(r.t, r.Topic+".dlq", d.Message())
	}
}
