package web_test

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"membersync/dlq"
)

// fail writes events that the CRM does not know the members of, waits until pages show them as dead
// letters, and creates the members.
func (r *rig) fail(n int) (b *browser) {
	r.t.Helper()
	for i := range n {
		r.produce(i)
	}
	b = r.operator()
	b.eventually("/dead-letters?q=state:open", fmt.Sprintf("of %d,", n))
	for i := range n {
		r.CRM.SetMember(fmt.Sprintf("FSUID_TEST%d", i), nil)
	}
	return b
}

// startJob plans a redrive of all open dead letters and starts it. It returns the job's path.
func (b *browser) startJob(pairs ...string) string {
	b.t.Helper()
	plan := b.submit(b.must("/dead-letters?q=state:open"), "/dead-letters/plan", "scope", "all", "kind", "redrive")
	started := b.submit(plan.text, "/jobs", pairs...)
	if started.status != http.StatusSeeOther {
		b.t.Fatalf("status %d: %s", started.status, started.text)
	}
	return started.header.Get("Location")
}

// requests counts the redrives that the audit and the redrive topic hold, by dead letter and
// number.
func (r *rig) requests() (recorded, sent map[dlq.Sent]int) {
	r.t.Helper()
	recorded, sent = map[dlq.Sent]int{}, map[dlq.Sent]int{}
	for _, m := range r.Broker.ReadAll(r.t, r.Topic+".audit") {
		a, err := dlq.ParseAudit(m.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		if a.Action == dlq.ActionRedrive && a.Detail.Job == nil {
			recorded[dlq.Sent{ID: a.Subject, Number: a.Detail.Number}]++
		}
	}
	for _, m := range r.Broker.ReadAll(r.t, r.Topic+".redrive") {
		one, err := dlq.ParseRedrive(m)
		if err != nil {
			r.t.Fatal(err)
		}
		sent[dlq.Sent{ID: one.DeadLetter.ID(), Number: one.Number}]++
	}
	return recorded, sent
}

// checkOnce checks that n dead letters were each redriven once, and that the CRM was called once
// for each.
func (r *rig) checkOnce(n, calls int) {
	r.t.Helper()
	recorded, sent := r.requests()
	if !maps.Equal(recorded, sent) || len(sent) != n {
		r.t.Errorf("recorded %v, sent %v, want %d of each", recorded, sent, n)
	}
	for one, times := range sent {
		if times != 1 || one.Number != 1 {
			r.t.Errorf("%s: redrive %d was sent %d times", one.ID, one.Number, times)
		}
	}
	if calls != n {
		r.t.Errorf("%d calls for %d dead letters", calls, n)
	}
}

// A job whose process has stopped is interrupted, and another process resumes it. Each dead letter
// is redriven once.
func TestStoppedJob(t *testing.T) {
	t.Parallel()
	const n = 12
	r := newRig(t)
	r.Start(nil)
	program, first := r.StartUI()
	r.url = first
	b := r.fail(n)
	before := r.CRM.Stats().Requests
	path := b.startJob("rate", "2", "note", "created in the CRM")
	b.eventually(path, "applied: ")
	program.Stop()
	_, r.url = r.StartUI()
	b = r.operator()
	text := b.eventually(path, "interrupted</span>")
	if !regexp.MustCompile(`\b[1-9]\d* of 12 have no request yet`).MatchString(text) || !strings.Contains(text, "created in the CRM") {
		t.Error(text)
	}
	if text := b.must("/dead-letters"); !strings.Contains(text, "Jobs that were interrupted: 1") || !strings.Contains(text, `href="`+path+`"`) {
		t.Error(text)
	}
	if p := b.submit(text, path+"/resume"); p.status != http.StatusSeeOther || p.header.Get("Location") != path {
		t.Fatalf("status %d: %s", p.status, p.text)
	}
	text = b.eventually(path, `<span class="tag ok">done</span>`)
	if !strings.Contains(text, "Results: 12 of 12") || !strings.Contains(text, "applied: 12") {
		t.Error(text)
	}
	r.checkOnce(n, r.CRM.Stats().Requests-before)
	for _, action := range []string{"/resume", "/end"} {
		if p := b.do(http.MethodPost, path+action, hidden(t, text, "/logout")); p.status != http.StatusConflict {
			t.Errorf("%s of a job that is done: status %d", action, p.status)
		}
	}
}

// A process that is killed while its job runs loses nothing and sends nothing twice: another one
// carries on.
func TestKilledJob(t *testing.T) {
	t.Parallel()
	const n = 12
	r := newRig(t)
	r.Start(nil)
	b := r.fail(n)
	before := r.CRM.Stats().Requests
	child, url := r.startChild()
	own := &browser{t: t, url: url, Client: r.browser().Client}
	if p := own.login(operatorToken); p.status != http.StatusSeeOther {
		t.Fatalf("status %d", p.status)
	}
	own.eventually("/dead-letters?q=state:open", "of 12,")
	path := own.startJob("rate", "2")
	own.eventually(path, "applied: ")
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	text := b.eventually(path, "running</span>") // its last heartbeat is young
	if strings.Contains(text, "/resume") || !strings.Contains(text, "Another process runs it") {
		t.Error(text)
	}
	r.endBeats()
	text = b.eventually(path, "interrupted</span>")
	b.submit(text, path+"/resume")
	b.eventually(path, `<span class="tag ok">done</span>`)
	r.checkOnce(n, r.CRM.Stats().Requests-before)
}

// endBeats removes all heartbeats, as time does of those whose process has ended. Running processes
// write theirs again.
func (r *rig) endBeats() {
	for _, key := range r.Redis.Keys() {
		if strings.Contains(key, "heartbeats:") {
			r.Redis.Del(key)
		}
	}
}

// childVariable makes the test binary a membersync ui of its own, which can be killed.
const childVariable = "MEMBERSYNC_WEB_TEST_CHILD"

// startChild starts membersync ui as a process of its own.
func (r *rig) startChild() (child *exec.Cmd, url string) {
	r.t.Helper()
	child = exec.CommandContext(r.t.Context(), os.Args[0]) //nolint:gosec // this test binary
	child.Env = append(os.Environ(), childVariable+"=yes", "MEMBERSYNC_UI_ADDR=127.0.0.1:0")
	for name, value := range r.Variables {
		child.Env = append(child.Env, "MEMBERSYNC_"+name+"="+value)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "web pages: "); ok {
			return child, strings.TrimSuffix(rest, "/")
		}
	}
	r.t.Fatal("the process does not serve pages")
	return nil, ""
}

// Two processes resume a job at once: one of them runs it.
func TestResumeTwice(t *testing.T) {
	t.Parallel()
	const n = 6
	r := newRig(t)
	service := r.Start(nil)
	b := r.fail(n)
	service.Stop()
	before := r.CRM.Stats().Requests
	path := r.interrupted(b)
	first := r.operator()
	_, r.url = r.StartUI()
	second := r.operator()
	r.Start(nil)
	var pages [2]page
	var all sync.WaitGroup
	for i, b := range []*browser{first, second} {
		text := b.eventually(path, "interrupted</span>")
		all.Go(func() { pages[i] = b.submit(text, path+"/resume") })
	}
	all.Wait()
	refused := 0
	for _, p := range pages {
		switch p.status {
		case http.StatusSeeOther:
		case http.StatusConflict:
			refused++
		default:
			t.Errorf("status %d: %s", p.status, p.text)
		}
	}
	if refused != 1 {
		t.Errorf("%d of two were refused, want 1", refused)
	}
	for _, b := range []*browser{first, second} {
		b.eventually(path, `<span class="tag ok">done</span>`)
	}
	r.checkOnce(n, r.CRM.Stats().Requests-before)
}

// interrupted writes a job of all open dead letters as a process that has ended at once would have.
func (r *rig) interrupted(b *browser) (path string) {
	r.t.Helper()
	var items []dlq.JobItem
	for _, m := range regexp.MustCompile(`name="id" value="([^"]*)"`).FindAllStringSubmatch(b.must("/dead-letters?q=state:open"), -1) {
		items = append(items, dlq.JobItem{ID: m[1], State: dlq.StateOpen})
	}
	return r.writeJob(items)
}

func (r *rig) writeJob(items []dlq.JobItem) (path string) {
	r.t.Helper()
	job := dlq.Job{ID: "sample", Action: dlq.ActionRedrive, Actor: "sample", At: time.Now(), Run: 1, Runner: "ended"}
	r.writeAudit(job.Records(items)...)
	return "/jobs/sample"
}

func (r *rig) writeAudit(records ...dlq.AuditRecord) {
	r.t.Helper()
	auditor := dlq.NewAuditor(r.Broker.Client(r.t), r.Topic+".audit")
	for _, a := range records {
		if err := auditor.Write(r.t.Context(), a); err != nil {
			r.t.Fatal(err)
		}
	}
}

// A job that is resumed sends what its plan showed and what has no request yet: not what has failed
// again, was discarded or was redriven since the plan. What was recorded and not sent is sent under
// that record.
func TestResumeIsExact(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var all []dlq.DeadLetter
	for n := range int64(6) {
		r.CRM.SetMember(fmt.Sprintf("FSUID_TEST%d", n), nil)
		all = append(all, sampleDeadLetter(n))
	}
	r.writeDeadLetters(all...)
	b := r.operator()
	b.eventually("/dead-letters?q=state:open", "of 6,")
	const planned, recordedOnly, failedAgain, discarded, applied, other = 0, 1, 2, 3, 4, 5
	var items []dlq.JobItem
	for n := range other {
		items = append(items, dlq.JobItem{ID: all[n].ID(), State: dlq.StateOpen})
	}
	path := r.writeJob(items)
	again := all[failedAgain]
	again.Redrives, again.FailedAt = 1, again.FailedAt.Add(time.Hour)
	r.writeDeadLetters(again)
	at := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	request := func(n int) dlq.AuditRecord {
		place := dlq.Place{Offset: int64(n)}
		return dlq.Redrive{DeadLetter: all[n], Place: place, Number: 1, By: "sample", At: at}.Request(nil)
	}
	done := dlq.AuditRecord{Action: dlq.ActionRedriveResult, Subject: all[applied].ID(), Result: dlq.ResultApplied, Detail: dlq.Detail{Number: 1}}
	discard := dlq.AuditRecord{Action: dlq.ActionDiscard, Subject: all[discarded].ID(), Result: dlq.ResultDone}
	r.writeAudit(request(recordedOnly), request(failedAgain), request(applied), done, discard)
	b.eventually("/dead-letters?q=state:discarded", "of 1,")
	text := b.eventually(path, "interrupted</span>")
	if !strings.Contains(text, "1 of 5 have no request yet") {
		t.Error(text)
	}
	r.Start(nil)
	b.submit(text, path+"/resume")
	text = b.eventually(path, `<span class="tag ok">done</span>`)
	for _, want := range []string{"applied: 3", "discarded: 1", "dead_lettered: 1", "Results: 5 of 5"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	_, sent := r.requests()
	want := map[dlq.Sent]int{{ID: all[planned].ID(), Number: 1}: 1, {ID: all[recordedOnly].ID(), Number: 1}: 1}
	if !maps.Equal(sent, want) {
		t.Errorf("sent %v, want %v", sent, want)
	}
	if got := r.CRM.Stats().Requests; got != len(want) {
		t.Errorf("%d calls", got)
	}
	b.eventually("/dead-letters?q=state:open", "of 2,") // the one that failed again, and the other
}

// A job that was recorded in part never started. It is ended, not resumed; a job that an operator
// ends is not resumed either.
func TestEndJob(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.writeDeadLetters(sampleDeadLetter(1))
	var items []dlq.JobItem
	for n := range int64(3000) {
		items = append(items, dlq.JobItem{ID: sampleDeadLetter(n).ID(), State: dlq.StateOpen})
	}
	job := dlq.Job{ID: "part", Action: dlq.ActionRedrive, Actor: "sample", At: time.Now(), Run: 1, Runner: "ended"}
	records := job.Records(items)
	if len(records) < 2 {
		t.Fatal("one record")
	}
	r.writeAudit(records[:len(records)-1]...)
	b := r.operator()
	text := b.eventually("/jobs/part", "never started</span>")
	if strings.Contains(text, "/resume") {
		t.Error(text)
	}
	if p := b.do(http.MethodPost, "/jobs/part/resume", hidden(t, text, "/jobs/part/end")); p.status != http.StatusConflict {
		t.Errorf("status %d", p.status)
	}
	if p := b.submit(text, "/jobs/part/end"); p.status != http.StatusSeeOther {
		t.Errorf("status %d: %s", p.status, p.text)
	}
	b.eventually("/jobs/part", "ended by an operator")
	path := r.writeJob(items[1:2])
	b.submit(b.eventually(path, "interrupted</span>"), path+"/end")
	b.eventually(path, "ended by an operator")
	if _, sent := r.requests(); len(sent) != 0 {
		t.Errorf("sent %v", sent)
	}
	v := r.browser()
	v.login(viewerToken)
	if text := v.must(path); strings.Contains(text, "/resume") || strings.Contains(text, "/end") {
		t.Error("a viewer sees buttons")
	}
}

// Two operators start a redrive of the same dead letters in two processes at once. Each is redriven
// once.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	const n = 6
	r := newRig(t)
	r.Start(nil)
	one := r.fail(n)
	_, r.url = r.StartUI()
	other := r.operator()
	other.eventually("/dead-letters?q=state:open", "of 6,")
	before := r.CRM.Stats().Requests
	plans := [2]string{}
	for i, b := range []*browser{one, other} {
		plans[i] = b.submit(b.must("/dead-letters?q=state:open"), "/dead-letters/plan", "scope", "all", "kind", "redrive").text
	}
	var all sync.WaitGroup
	for i, b := range []*browser{one, other} {
		all.Go(func() {
			p := b.submit(plans[i], "/jobs")
			if path := p.header.Get("Location"); path != "" {
				b.eventually(path, `<span class="tag ok">done</span>`)
			}
		})
	}
	all.Wait()
	one.eventually("/dead-letters?q=state:applied", "of 6,")
	_, sent := r.requests()
	for one := range sent {
		if one.Number != 1 {
			t.Errorf("%s: redrive %d", one.ID, one.Number)
		}
	}
	if calls := r.CRM.Stats().Requests - before; calls != n || len(sent) != n {
		t.Errorf("%d calls, %d redrives, want %d", calls, len(sent), n)
	}
}
