package web_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"membersync/mapper"
)

const tried = "version: 1\nidentity:\n  event_id: $event.eventId\n  employee_id: $event.employeeId\n  open_user_id: $event.openUserId\n" +
	"order: {kind: sequence, from: $event.sequence}\nstates: {after: $event.after}\nfields:\n  position: {from: position}\n"

// A record of the topic is tried without its values being shown. They are revealed once the audit
// topic has who looks at them and why.
func TestMappingOfRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for n := range 25 {
		r.produce(n)
	}
	b := r.operator()
	form := b.eventually("/mapping", `value="0:24"`)
	if n := strings.Count(form, `name="place" value="0:`); n != 20 || strings.Contains(form, "needle") || !strings.Contains(form, "ev-24") {
		t.Errorf("%d records: %s", n, form)
	}
	p := b.submit(form, "/mapping", "place", "0:24")
	if p.status != http.StatusOK || strings.Contains(p.text, "needle") || !strings.Contains(p.text, "read as text") || !strings.Contains(p.text, "E24") {
		t.Errorf("status %d: %s", p.status, p.text)
	}
	if p := b.submit(form, "/mapping", "place", "0:24", "reveal", "yes"); p.status != http.StatusUnprocessableEntity || strings.Contains(p.text, "needle") {
		t.Errorf("without a note: status %d: %s", p.status, p.text)
	}
	if lines := r.audit(); len(lines) != 0 {
		t.Errorf("audit %v", lines)
	}
	p = b.submit(form, "/mapping", "place", "0:24", "reveal", "yes", "note", "ticket 7")
	if p.status != http.StatusOK || !strings.Contains(p.text, "needle-position") {
		t.Errorf("status %d: %s", p.status, p.text)
	}
	if got, want := r.audit(), "reveal "+r.Topic+" 0:24 done sample (unverified) ticket 7"; len(got) != 1 || got[0] != want {
		t.Errorf("audit %q, want %q", got, want)
	}
	for place, want := range map[string]int{"0:25": http.StatusUnprocessableEntity, "7:0": http.StatusUnprocessableEntity, "x": http.StatusUnprocessableEntity} {
		if p := b.submit(form, "/mapping", "place", place); p.status != want {
			t.Errorf("%s: status %d, want %d", place, p.status, want)
		}
	}
	v := r.browser()
	v.login(viewerToken)
	if p := v.get("/mapping"); p.status != http.StatusForbidden {
		t.Errorf("a viewer: status %d", p.status)
	}
}

// Each fault of a mapping file stands at its line.
func TestMappingFaults(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.operator()
	file := strings.ReplaceAll(tried, "position: {from: position}", "nonsense: {from: position}\n  qq: {from: x, as: nothing}")
	p := b.submit(b.must("/mapping"), "/mapping", "value", "{}", "file", strings.ReplaceAll(file, "\n", "\r\n"))
	marked := regexp.MustCompile(`<li value="(\d+)" class="bad"[^>]*><code>([^<]*)</code><div class="fault">([^<]*)</div>`).FindAllStringSubmatch(p.text, -1)
	if p.status != http.StatusUnprocessableEntity || len(marked) != 2 {
		t.Fatalf("status %d, marked %q: %s", p.status, marked, p.text)
	}
	for i, want := range []string{"nonsense", "qq"} {
		if !strings.Contains(marked[i][2], want) || !strings.HasPrefix(marked[i][3], "column ") {
			t.Errorf("marked %q", marked[i])
		}
	}
}

// What can be copied as an example passes in the file in which it was tried.
func TestMappingExample(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.produce(1)
	b := r.operator()
	form := b.eventually("/mapping", `value="0:0"`)
	event := "{\"eventId\":\"ev-1\",\"sequence\":1,\r\n\"employeeId\":\"E1\",\"openUserId\":\"FSUID_TEST1\",\"after\":{\"position\":\"Sample: \\\"#\\\" B\"}}"
	for name, pairs := range map[string][]string{
		"typed":     {"value", event, "key", "E1"},
		"a record":  {"place", "0:0", "reveal", "yes", "note", "n"},
		"no value":  {"novalue", "yes"},
		"not JSON":  {"value", "not: {json"},
		"unchanged": {"value", strings.ReplaceAll(event, "position", "other")},
	} {
		p := b.submit(form, "/mapping", append(pairs, "file", tried)...)
		m := regexp.MustCompile(`(?s)<pre id="example"[^>]*>(.*?)</pre>`).FindStringSubmatch(p.text)
		if m == nil {
			t.Errorf("%s: no example: %s", name, p.text)
			continue
		}
		file := tried + "examples:\n" + unescape(m[1])
		mapping, err := mapper.Parse("mapping", []byte(file), mapper.Options{})
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, file)
			continue
		}
		for _, result := range mapping.RunExamples() {
			if len(result.Diffs) > 0 {
				t.Errorf("%s: %+v\n%s", name, result.Diffs, file)
			}
		}
	}
}
