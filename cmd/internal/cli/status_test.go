package cli

import (
	"context"
	"html"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/crmapi/crmapitest"
)

// Each cause is produced by what happens, and reported by the command as it runs.
func TestStatusCauses(t *testing.T) {
	t.Parallel()
	for want, play := range map[ops.StatusCause]func(*testing.T, *opsRig){
		ops.StatusWorking: func(t *testing.T, o *opsRig) {
			t.Helper()
			o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
			o.serving(t)
		},
		ops.StatusNoInstance: noInstanceRuns,
		ops.StatusOutage:     theCRMFails,
		ops.StatusThrottled:  theCRMThrottles,
		ops.StatusQuota:      theQuotaIsUsedUp,
		ops.StatusRefused:    theCRMRefusesCredentials,
		ops.StatusPaused:     callingIsPaused,
		ops.StatusStateLost:  stateIsLost,
		ops.StatusStateKey:   theKeyIsAnother,
		ops.StatusCatchingUp: func(t *testing.T, o *opsRig) {
			t.Helper()
			o.crm.Block(crmapitest.BeforeEffect)
			t.Cleanup(o.crm.Release)
			o.set("SHUTDOWN_TIMEOUT", "1s")
			o.hr.at = time.Now().Add(-time.Hour)
			o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
			o.serving(t)
		},
		ops.StatusRedis: func(t *testing.T, o *opsRig) {
			t.Helper()
			o.set("REDIS_URL", "redis://127.0.0.1:1")
		},
		ops.StatusRetentionRisk: func(t *testing.T, o *opsRig) {
			t.Helper()
			o.hr.at = time.Now().Add(-7*24*time.Hour + time.Hour)
			o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
			theCallHangs(t, o)
		},
		ops.StatusKafka: func(t *testing.T, o *opsRig) {
			t.Helper()
			o.set("KAFKA_TOPIC", "not-there")
		},
		ops.StatusMappingRejects: func(t *testing.T, o *opsRig) {
			t.Helper()
			for i := range 40 {
				o.hr.change(t, i+1, i+1, map[bool]string{true: `{"gender":"none"}`, false: `{"position":"needle-A"}`}[i%2 == 0])
			}
			o.serving(t)
		},
		ops.StatusStorm: func(t *testing.T, o *opsRig) {
			t.Helper()
			o.set("KAFKA_BUFFER_RECORDS", "100")
			for i := range 200 {
				o.hr.change(t, i+1, i+1, `{"gender":"none"}`)
			}
			o.set("DLQ_STORM_SHARE", "0.5")
			o.serving(t)
		},
		ops.StatusDLQ: func(t *testing.T, o *opsRig) {
			t.Helper()
			o.set("KAFKA_CREATE_TOPICS", "false")
			o.serving(t)
			o.broker.Delete(t, o.topics.DLQ)
			o.hr.change(t, 1, 1, `{"gender":"none"}`)
		},
		ops.StatusControl: theControlStateIsUnreadable,
		ops.StatusStuck: func(t *testing.T, o *opsRig) {
			t.Helper()
			o.set("CRM_TIMEOUT", "5m")
			theCallHangs(t, o)
		},
	} {
		t.Run(string(want), func(t *testing.T) {
			t.Parallel()
			o := newOpsRig(t)
			o.hr.at = time.Now() // what is older than the retention would be at risk
			o.set("DLQ_STORM_SHARE", "0")
			play(t, o)
			var status int
			var got map[string]any
			passed := time.Duration(0)
			if want == ops.StatusStuck {
				passed = time.Minute // without the end of a batch
			}
			untilAfter(t, passed, string(want), func() bool {
				var stdout, stderr string
				status, stdout, stderr = o.do(t, "status", "-o", "json")
				all := objects(t, stdout)
				if len(all) != 1 {
					t.Fatalf("status %d: %s%s", status, stdout, stderr)
				}
				got = all[0]
				return got["cause"] == string(want)
			})
			attention := map[bool]int{true: exitFailed, false: exitDone}[want.NeedsAttention()]
			if status != attention || got["needs_attention"] != want.NeedsAttention() {
				t.Errorf("status %d, %v", status, got)
			}
			_, text, _ := o.do(t, "status")
			sentence, _ := got["sentence"].(string)
			// The second run is a moment later: the numbers may differ.
			first := sentence[:strings.IndexAny(sentence+"0", "0123456789")]
			if !strings.HasPrefix(text, first) || strings.Contains(text, "needle") {
				t.Errorf("%q does not begin with %q", text, first)
			}
			tone := map[bool]string{true: "bad", false: "warn"}[want.NeedsAttention()]
			if want == ops.StatusWorking {
				tone = "ok"
			}
			bannerSays(t, o, tone, first)
		})
	}
}

// bannerSays opens the overview page until its banner has the tone and begins with the text.
func bannerSays(t *testing.T, o *opsRig, tone, first string) {
	t.Helper()
	url := servingPages(t, o)
	banner := regexp.MustCompile(`(?s)<section class="banner ([a-z]+)"[^>]*><div><p class="what">([^<]*)</p>`)
	var shown []string
	until(t, "the banner "+tone+", "+first, func() bool {
		page := get(t, url)
		if strings.Contains(page, "needle") {
			t.Fatalf("personal data is shown: %s", page)
		}
		if shown = banner.FindStringSubmatch(page); shown == nil {
			return false
		}
		return shown[1] == tone && strings.HasPrefix(html.UnescapeString(shown[2]), first)
	})
}

// servingPages runs membersync ui until the end of the test, and returns its URL.
func servingPages(t *testing.T, o *opsRig) string {
	t.Helper()
	pages := newRig()
	pages.app.Environ = append(pages.app.Environ, o.app.Environ...)
	pages.set("UI_ADDR", "127.0.0.1:0")
	pages.set("UI_VIEWER_TOKEN", viewerToken)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() { done <- pages.app.run(ctx, []string{"ui"}) }()
	t.Cleanup(func() {
		cancel()
		if status := <-done; status != exitDone {
			t.Errorf("ui ended with %d: %s", status, pages.errs)
		}
	})
	pages.out.await(t, "web pages: ")
	_, rest, _ := strings.Cut(pages.out.String(), "web pages: ")
	url, _, _ := strings.Cut(rest, "\n")
	return url
}

const viewerToken = "made-up-for-tests"

// get opens a page as a viewer.
func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+viewerToken)
	res, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// theControlStateIsUnreadable since a key that belongs to it holds something else.
func theControlStateIsUnreadable(t *testing.T, o *opsRig) {
	t.Helper()
	o.must(t, "pause", "--yes", "--actor=sample@host")
	keys, err := o.state.Keys(t.Context(), o.state.prefix+":*:pause").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys %v: %v", keys, err)
	}
	o.must(t, "resume", "--yes", "--actor=sample@host")
	if err := o.state.Set(t.Context(), strings.TrimSuffix(keys[0], "pause")+"digests", "no number", 0).Err(); err != nil {
		t.Fatal(err)
	}
	o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
	t.Cleanup(o.runningSince(t, "control state not read")) // it does not join the group before
}

// One of two instances is started with another key: the group works, and only that one does not.
// An instance that has stopped does not count.
func TestStatusOfOneInstanceWithAnotherKey(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.hr.change(t, 1, 1, `{"position":"A"}`)
	o.served(t)
	instances := func() float64 {
		_, stdout, _ := o.do(t, "status", "-o", "json")
		all, _ := objects(t, stdout)[0]["instances"].([]any)
		return float64(len(all))
	}
	if n := instances(); n != 0 {
		t.Errorf("%v instances after the only one has stopped", n)
	}
	stop := o.running(t)
	former := o.variable("STATE_KEY")
	o.set("STATE_KEY", "another key made up for tests, 32 bytes or more")
	stopOther := o.runningSince(t, "was written under another MEMBERSYNC_STATE_KEY")
	status := func() string {
		_, stdout, _ := o.do(t, "status")
		return stdout
	}
	until(t, "the caller's wrong key", func() bool { return strings.Contains(status(), "MEMBERSYNC_STATE_KEY here is unset, or not that") })
	o.set("STATE_KEY", former)
	const want = "The wrong MEMBERSYNC_STATE_KEY is set for 1 of 2 instances, so nothing is sent there; the others work."
	until(t, "the instance's wrong key", func() bool { return strings.Contains(status(), want) })
	if status, _, stderr := o.do(t, "explain", "E1"); status != exitDone {
		t.Errorf("status %d: %s", status, stderr)
	}
	stopOther()
	if got := status(); !strings.HasPrefix(got, "The service works: 1 instance,") {
		t.Error(got)
	}
	stop()
}

// An instance reports every few seconds why it does not call, so after a resume it still names the
// operator for a while.
func TestStatusKnowsOfAResumeAtOnce(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.serving(t)
	o.must(t, "pause", "--yes")
	until(t, "the instance reports the pause", func() bool {
		_, stdout, _ := o.do(t, "status", "-o", "json")
		return strings.Contains(stdout, `"causes":["operator"]`)
	})
	o.must(t, "resume", "--yes")
	if _, stdout, _ := o.do(t, "status", "-o", "json"); strings.Contains(stdout, "paused_by_operator") {
		t.Error(stdout)
	}
}

// The status counts open dead letters by cause, and names the last actions.
func TestStatusShowsDeadLettersAndActions(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.hr.at = time.Now()
	o.set("DLQ_STORM_SHARE", "0")
	defer o.running(t)()
	ids := failing(t, o, 3)
	o.must(t, "dlq", "discard", ids[0], "--note=sample note", "--actor=sample@host", "--yes")
	_, got, _ := o.do(t, "status")
	for _, want := range []string{
		"2        2          ", "invalid_field after.gender is neither M nor F (byte …)", "sample@host", "discard", "sample note",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}
