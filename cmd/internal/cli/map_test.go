package cli

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/mapper"
)

const sample = `{"eventId":"e1","sequence":7,"employeeId":"E1","openUserId":"FSUID_TEST0001",` +
	`"before":{"position":"Clerk","qq":"1"},"after":{"position":"Lead","qq":"1"}}`

func TestMap(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args   []string
		stdin  string
		status int
		want   string
	}{
		"table": {
			[]string{"map", "-"},
			sample, exitDone,
			"INDEX  EMPLOYEE  EVENT  OUTCOME  DETAIL\n" +
				`0      E1        e1     update   {"openUserId":"FSUID_TEST0001","position":"Lead"}` + "\n",
		},
		"unchanged": {
			[]string{"map"},
			strings.Replace(sample, "Lead", "Clerk", 1), exitDone,
			"INDEX  EMPLOYEE  EVENT  OUTCOME    DETAIL\n0      E1        e1     unchanged  -\n",
		},
		"ignored": {
			[]string{"map"},
			strings.Replace(sample, `{"position":"Lead","qq":"1"}`, "null", 1), exitDone,
			"INDEX  EMPLOYEE  EVENT  OUTCOME  DETAIL\n0      E1        e1     ignored  deletion\n",
		},
		"control characters do not reach the terminal": {
			[]string{"map"},
			strings.Replace(sample, `"E1"`, `"E\u001b[2J"`, 1), exitDone,
			"INDEX  EMPLOYEE    EVENT  OUTCOME  DETAIL\n" +
				`0      "E\x1b[2J"  e1     update   {"openUserId":"FSUID_TEST0001","position":"Lead"}` + "\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig()
			r.app.Stdin = strings.NewReader(tc.stdin)
			if status := r.run(t, tc.args...); status != tc.status {
				t.Errorf("status %d, want %d", status, tc.status)
			}
			r.want(t, tc.want, "")
		})
	}
}

// The json form is the contract's, and takes flags after the file too.
func TestMapJSON(t *testing.T) {
	t.Parallel()
	r := newRig()
	r.files["event.json"] = sample
	at := "2026-11-22T08:00:00.123Z"
	if status := r.run(t, "map", "event.json", "-o", "json", "--key=E1", "--header", "a=b=c", "--timestamp", at); status != exitDone {
		t.Fatalf("status %d: %s", status, r.errs)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(r.out.String()), &got); err != nil {
		t.Fatal(err)
	}
	version, _ := got["version"].(string)
	if parsed, _ := time.Parse(time.RFC3339, at); !strings.Contains(version, strconv.FormatInt(parsed.UnixMilli(), 10)) {
		t.Errorf("version %q lacks the timestamp", version)
	}
	delete(got, "version")
	want := map[string]any{
		"outcome": "update", "event_id": "e1", "employee_id": "E1", "index": 0.0,
		"user": map[string]any{"openUserId": "FSUID_TEST0001", "position": "Lead"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestMapRejects(t *testing.T) {
	t.Parallel()
	r := newRig()
	r.app.Stdin = strings.NewReader(`{"hushhush`)
	if status := r.run(t, "map"); status != exitFailed {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(r.out.String(), "-      -         -      rejected  malformed: ") {
		t.Errorf("%q", r.out)
	}
	r = newRig()
	if status := r.run(t, "map", "gone.json"); status != exitFailed {
		t.Errorf("status %d", status)
	}
	r.want(t, "", "membersync map: open gone.json: file does not exist\n")
}

// The flags of the mapping count.
func TestMapSettings(t *testing.T) {
	t.Parallel()
	dated := strings.Replace(sample, `"position":"Lead"`, `"hireDate":"2026-01-02"`, 1)
	byTime := strings.Replace(sample, `"sequence":7`, `"occurredAt":"2026-11-22T08:00:00Z"`, 1)
	for _, tc := range []struct {
		name   string
		stdin  string
		flags  []string
		status int
	}{
		{"no zone", dated, nil, exitFailed},
		{"zone", dated, []string{"--timezone=Asia/Shanghai"}, exitDone},
		{"no sequence", byTime, nil, exitFailed},
		{"by time", byTime, []string{"--mapping=canonical-time", "--timestamp=2026-11-22T08:00:00Z"}, exitDone},
		{"ahead", byTime, []string{"--mapping=canonical-time", "--timestamp=2026-11-22T06:59:00Z", "--order-max-ahead=1h"}, exitFailed},
		{"oversized", sample, []string{"--kafka-max-record-bytes=100B"}, exitFailed},
		{"oversized by its key", sample, []string{"--kafka-max-record-bytes=200B", "--key=" + strings.Repeat("k", 100)}, exitFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig()
			r.app.Stdin = strings.NewReader(tc.stdin)
			if status := r.run(t, append([]string{"map"}, tc.flags...)...); status != tc.status {
				t.Errorf("status %d, want %d: %s%s", status, tc.status, r.out, r.errs)
			}
		})
	}
}

func TestMapStatus(t *testing.T) {
	t.Parallel()
	good, bad := mapper.Result{}, mapper.Result{Fault: &mapper.Fault{}}
	for _, tc := range []struct {
		results []mapper.Result
		want    int
	}{
		{[]mapper.Result{good}, exitDone},
		{[]mapper.Result{bad, bad}, exitFailed},
		{[]mapper.Result{good, bad}, exitPart},
	} {
		if got := mapStatus(tc.results); got != tc.want {
			t.Errorf("%v: %d, want %d", tc.results, got, tc.want)
		}
	}
}
