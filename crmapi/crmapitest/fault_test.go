package crmapitest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi/crmapitest"
)

func newCounter() *atomic.Int64 { return new(atomic.Int64) }

// sleepUntil waits until the given number of seconds after the start of virtual time.
func sleepUntil(seconds int) {
	began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	<-time.After(time.Until(began.Add(time.Duration(seconds) * time.Second)))
}

const body = `{"corpAccessToken":"TOKEN_TEST","corpId":"CORP_TEST","user":{"openUserId":"FSUID_TEST0001","qq":"1"}}`

func TestFaults(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault   crmapitest.Fault
		status  int // 0: no response
		text    string
		applied bool
		outcome crmapitest.Outcome
	}{
		"status":       {crmapitest.Fault{Status: 503}, 503, "traceId", false, crmapitest.OutcomeRefused},
		"code":         {crmapitest.Fault{Code: 50009}, 200, `"errorCode":50009`, false, crmapitest.OutcomeRefused},
		"late code":    {crmapitest.Fault{Code: 50009, At: crmapitest.AfterEffect}, 200, `50009`, true, crmapitest.OutcomeRefused},
		"both":         {crmapitest.Fault{Status: 400, Code: 10001}, 400, `10001`, false, crmapitest.OutcomeRefused},
		"message":      {crmapitest.Fault{Message: "FAILED"}, 200, `"errorMessage":"FAILED"`, true, crmapitest.OutcomeSuccess},
		"HTML":         {crmapitest.Fault{Status: 302, Body: "<html>"}, 302, "<html>", false, crmapitest.OutcomeRefused},
		"no content":   {crmapitest.Fault{Status: 204}, 204, "", false, crmapitest.OutcomeRefused},
		"latency":      {crmapitest.Fault{Latency: time.Millisecond}, 200, `"errorCode":0`, true, crmapitest.OutcomeSuccess},
		"close":        {crmapitest.Fault{Close: true}, 0, "", false, crmapitest.OutcomeClosed},
		"no response":  {crmapitest.Fault{Close: true, At: crmapitest.AfterEffect}, 0, "", true, crmapitest.OutcomeClosed},
		"cut":          {crmapitest.Fault{Cut: true}, 0, "", true, crmapitest.OutcomeSuccess},
		"other member": {crmapitest.Fault{Code: 1, Member: "X"}, 200, `"errorCode":0`, true, crmapitest.OutcomeSuccess},
		"other API":    {crmapitest.Fault{Code: 1, Endpoint: "token"}, 200, `"errorCode":0`, true, crmapitest.OutcomeSuccess},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCaller(t, options())
			c.fake.Push(tt.fault)
			status, text, err := c.try(t, http.MethodPost, c.newPath(), "application/json", body)
			if (err != nil) != (tt.status == 0) || err == nil && (status != tt.status || !strings.Contains(text, tt.text)) {
				t.Errorf("HTTP %d %s, %v", status, text, err)
			}
			seen := c.fake.Calls()[0]
			if seen.Applied != tt.applied || (c.fake.State(member)["qq"] != nil) != tt.applied || seen.Outcome != tt.outcome {
				t.Errorf("%+v", seen)
			}
			if seen.Finished.Before(seen.Arrived) || seen.OpenUserID != member || seen.ThirdTraceID != "trace-1" ||
				string(seen.User) != `{"openUserId":"FSUID_TEST0001","qq":"1"}` {
				t.Errorf("%+v", seen)
			}
		})
	}
}

func TestFaultTimes(t *testing.T) {
	t.Parallel()
	opts := options()
	opts.Fault = func(seen crmapitest.Seen) crmapitest.Fault { return crmapitest.Fault{Code: seen.N} }
	c := newCaller(t, opts)
	c.fake.Push(crmapitest.Fault{Code: 101}, crmapitest.Fault{Code: 102, Times: 2}, crmapitest.Fault{Code: 103, Times: -1})
	var got []int
	for range 5 {
		got = append(got, c.postBody(t, body))
	}
	c.fake.Clear()
	got = append(got, c.postBody(t, body)) // Options.Fault applies last
	if diff := cmp.Diff([]int{101, 102, 102, 103, 103, 6}, got); diff != "" {
		t.Error(diff)
	}
}

// TestBlock: requests of 20 members are blocked before or after the effect, and continue together.
func TestBlock(t *testing.T) {
	t.Parallel()
	for _, at := range []crmapitest.Point{crmapitest.BeforeEffect, crmapitest.AfterEffect} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			opts := options()
			opts.AutoCreate, opts.Members = true, nil
			c := newCaller(t, opts)
			c.fake.Block(at)
			var all sync.WaitGroup
			for i := range 20 {
				all.Go(func() { c.update(t, fmt.Sprintf(`{"openUserId":"FSUID_TEST%d","qq":"1"}`, i)) })
			}
			waitFor(t, c.fake, func(s crmapitest.Stats) bool { return s.Blocked == 20 })
			if n := len(c.fake.Members()); c.fake.Open() != 20 || c.fake.Blocked() != 20 || (at == crmapitest.AfterEffect) != (n == 20) {
				t.Errorf("%+v, %d members", c.fake.Stats(), n)
			}
			for _, seen := range c.fake.Log() {
				if seen.Outcome != crmapitest.OutcomeOpen || !seen.Finished.IsZero() || seen.Applied != (at == crmapitest.AfterEffect) {
					t.Errorf("%+v", seen)
				}
			}
			c.fake.Release()
			all.Wait()
			if n := len(c.fake.Members()); n != 20 || c.fake.Open() != 0 || c.fake.Blocked() != 0 {
				t.Errorf("after Release: %d members, %+v", n, c.fake.Stats())
			}
			c.update(t, `{"openUserId":"FSUID_TEST1","qq":"2"}`) // is not blocked anymore
		})
	}
}

func waitFor(t *testing.T, fake *crmapitest.Server, until func(crmapitest.Stats) bool) {
	t.Helper()
	if err := fake.Wait(t.Context(), until); err != nil {
		t.Fatal(err)
	}
}

// TestBlockedClientGivesUp: a request whose client gives up has no effect if it is blocked before
// the effect, and keeps its effect otherwise. Sending it again is not an overlap.
func TestBlockedClientGivesUp(t *testing.T) {
	t.Parallel()
	for _, at := range []crmapitest.Point{crmapitest.BeforeEffect, crmapitest.AfterEffect} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			c := newCaller(t, options())
			c.fake.Push(crmapitest.Fault{Block: true, At: at})
			c.client.Timeout = 100 * time.Millisecond
			if _, _, err := c.try(t, http.MethodPost, c.newPath(), "application/json", body); err == nil {
				t.Fatal("want no response")
			}
			waitFor(t, c.fake, func(s crmapitest.Stats) bool { return s.Open == 0 })
			if applied := c.fake.State(member)["qq"] != nil; applied != (at == crmapitest.AfterEffect) {
				t.Errorf("applied: %v", applied)
			}
			c.client.Timeout = 0
			c.postBody(t, body)
			if got := c.fake.Calls(); got[0].Outcome != crmapitest.OutcomeGone || got[1].Together != 1 || c.fake.Overlaps() != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestOverlaps(t *testing.T) {
	t.Parallel()
	opts := options()
	opts.AutoCreate = true
	c := newCaller(t, opts)
	c.fake.Block(crmapitest.BeforeEffect)
	var all sync.WaitGroup
	for _, id := range []string{"A", "A", "A", "B"} {
		all.Go(func() { c.update(t, `{"openUserId":"`+id+`","qq":"1"}`) })
	}
	waitFor(t, c.fake, func(s crmapitest.Stats) bool { return s.Blocked == 4 })
	c.fake.Release()
	all.Wait()
	maxTogether := map[string]int{}
	for _, seen := range c.fake.Calls() {
		maxTogether[seen.OpenUserID] = max(maxTogether[seen.OpenUserID], seen.Together)
	}
	if diff := cmp.Diff(map[string]int{"A": 3, "B": 1}, maxTogether); diff != "" || c.fake.Overlaps() != 2 {
		t.Error(diff, c.fake.Overlaps())
	}
}

func TestConcurrentTokenFetches(t *testing.T) {
	t.Parallel()
	c := newCaller(t, options())
	c.fake.Push(crmapitest.Fault{Endpoint: crmapitest.EndpointToken, Block: true, Times: 2})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { c.send(t, http.MethodPost, crmapitest.IssuePath, "application/json", `{}`) })
	}
	waitFor(t, c.fake, func(s crmapitest.Stats) bool { return s.Blocked == 2 })
	c.fake.Release()
	all.Wait()
	if len(c.fake.Violations()) == 0 {
		t.Error("want a violation")
	}
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	c := newCaller(t, options())
	do := func(method, path, body string) string {
		t.Helper()
		status, text := c.send(t, method, "/_fake/"+path, "application/json", body)
		if status != http.StatusOK {
			t.Fatalf("%s %s: HTTP %d %s", method, path, status, text)
		}
		return text
	}
	do("POST", "seed", `[{"openUserId":"A","fields":{"qq":"7"}},{"openUserId":"B"}]`)
	do("POST", "seed", `{"openUserId":"C"}`)
	do("POST", "fault", `{"code":50009,"times":-1}`)
	if got := c.update(t, `{"openUserId":"A","qq":"1"}`); got != 50009 {
		t.Errorf("code %d", got)
	}
	do("DELETE", "fault", "")
	do("POST", "hold", `{"at":"after"}`)
	var all sync.WaitGroup
	all.Go(func() { c.update(t, `{"openUserId":"B","qq":"1"}`) })
	waitFor(t, c.fake, func(s crmapitest.Stats) bool { return s.Blocked == 1 })
	var stats crmapitest.Stats
	if err := json.Unmarshal([]byte(do("GET", "stats", "")), &stats); err != nil || stats.Blocked != 1 || stats.Requests != 2 {
		t.Errorf("%+v, %v", stats, err)
	}
	do("POST", "release", "")
	all.Wait()
	var members map[string]map[string]string
	if err := json.Unmarshal([]byte(do("GET", "members", "")), &members); err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{member: {}, "A": {"qq": "7"}, "B": {"qq": "1"}, "C": {}}
	if diff := cmp.Diff(want, members); diff != "" {
		t.Error(diff)
	}
	var log []crmapitest.Seen
	if err := json.Unmarshal([]byte(do("GET", "log", "")), &log); err != nil || len(log) != 2 || log[1].OpenUserID != "B" {
		t.Errorf("%+v, %v", log, err)
	}
	for path, body := range map[string]string{
		"seed": `{"fields":{}}`, "hold": `{"at":"now"}`, "fault": `{"statsu":1}`,
	} {
		if status, _ := c.send(t, "POST", "/_fake/"+path, "application/json", body); status != http.StatusBadRequest {
			t.Errorf("%s %s: HTTP %d", path, body, status)
		}
	}
	if status, _ := c.send(t, "GET", "/_fake/else", "", ""); status != http.StatusNotFound {
		t.Errorf("HTTP %d", status)
	}
}
