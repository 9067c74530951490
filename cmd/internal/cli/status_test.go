package cli

import (
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
			o.change(t, 1, 1, `{"position":"needle-A"}`)
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
			o.failedAt = time.Now().Add(-time.Hour)
			o.change(t, 1, 1, `{"position":"needle-A"}`)
			o.serving(t)
		},
		ops.StatusRedis: func(t *testing.T, o *opsRig) {
			t.Helper()
			o.set("REDIS_URL", "redis://127.0.0.1:1")
		},
		ops.StatusRetentionRisk: func(t *testing.T, o *opsRig) {
			t.Helper()
			o.failedAt = time.Now().Add(-7*24*time.Hour + time.Hour)
			o.change(t, 1, 1, `{"position":"needle-A"}`)
			theCallHangs(t, o)
		},
		ops.StatusKafka: func(t *testing.T, o *opsRig) {
			t.Helper()
			o.set("KAFKA_TOPIC", "not-there")
		},
	} {
		t.Run(string(want), func(t *testing.T) {
			t.Parallel()
			o := newOpsRig(t)
			o.failedAt = time.Now() // what is older than the retention would be at risk
			o.set("DLQ_STORM_SHARE", "0")
			play(t, o)
			var status int
			var got map[string]any
			until(t, string(want), func() bool {
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
			if first := sentence[:strings.IndexAny(sentence+"0", "0123456789")]; !strings.HasPrefix(text, first) || strings.Contains(text, "needle") {
				t.Errorf("%q does not begin with %q", text, first)
			}
		})
	}
}

// The status counts open dead letters by cause, and names the last actions.
func TestStatusShowsDeadLettersAndActions(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.failedAt = time.Now()
	o.set("DLQ_STORM_SHARE", "0")
	defer o.running(t)()
	ids := o.failing(t, 3)
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
