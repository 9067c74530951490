package cli

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"membersync/cmd/internal/interrupt"
	"membersync/dlq/kafkatest"
)

// noServer is an address at which no server listens, nor can.
const noServer = "127.0.0.1:1"

func TestCheck(t *testing.T) {
	t.Parallel()
	r := newService(t)
	topic := strings.Fields(strings.Join(r.app.Environ, " "))[1]
	topic = strings.TrimPrefix(topic, "MEMBERSYNC_KAFKA_TOPIC=")
	if status := r.run(t, "check"); status != exitDone {
		t.Errorf("status %d", status)
	}
	r.want(t, "configuration  ok       complete\n"+
		"mapping        ok       canonical, 1 example passes\n"+
		"kafka          ok       topic "+topic+" has 3 partitions; run will create "+topic+".dlq, "+topic+".redrive, "+topic+".audit\n"+
		"redis          ok       reachable, maxmemory-policy noeviction\n"+
		"crm            ok       reachable, token unproven: only an update tests a fixed token, and check sends none\n", "")
}

// A compacted source topic loses events that were not read: the check names it and says so.
func TestCheckWarnsOfCompactedTopic(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t)
	for policy, want := range map[string]bool{"compact": true, "compact,delete": true, "delete": false} {
		r := newService(t)
		topic := broker.Topic(t, 1, map[string]string{"cleanup.policy": policy})
		r.set("KAFKA_BROKERS", strings.Join(broker.Addrs(), ","))
		r.set("KAFKA_TOPIC", topic)
		if status := r.run(t, "check"); status != exitDone {
			t.Errorf("%s: status %d", policy, status)
		}
		warning := "; warning: topic " + topic + " is compacted (cleanup.policy=" + policy + "): an event that is followed by another"
		if got := strings.Contains(r.out.String(), warning); got != want {
			t.Errorf("%s: %s", policy, r.out)
		}
	}
}

func TestCheckFetchesToken(t *testing.T) {
	t.Parallel()
	r := newService(t)
	r.unset("CRM_TOKEN")
	r.set("CRM_APP_ID", "A1")
	r.set("CRM_APP_SECRET", "hushhush")
	r.set("CRM_PERMANENT_CODE", "hushhush")
	if status := r.run(t, "check", "-o", "json"); status != exitDone {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(r.out.String(), `{"check":"crm","state":"ok","detail":"reachable, token fetched"}`) {
		t.Error(r.out)
	}
}

// Each check fails alone, and the others are made all the same.
func TestCheckFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*testing.T, *rig)
		failed string
		detail string
	}{
		"source topic": {
			func(_ *testing.T, r *rig) { r.set("KAFKA_TOPIC", "gone") }, "kafka",
			"missing source topic: gone; create it, membersync does not, or correct MEMBERSYNC_KAFKA_TOPIC. Then run will create gone.dlq, gone.redrive, gone.audit",
		},
		"source topic, none created": {
			func(_ *testing.T, r *rig) { r.set("KAFKA_CREATE_TOPICS", "false"); r.set("KAFKA_TOPIC", "gone") }, "kafka",
			"Missing topics of membersync itself: gone.dlq, gone.redrive, gone.audit; create them, or set MEMBERSYNC_KAFKA_CREATE_TOPICS=true",
		},
		"own topics": {
			func(_ *testing.T, r *rig) { r.set("KAFKA_CREATE_TOPICS", "false"); r.set("AUDIT_TOPIC", "gone") }, "kafka",
			", gone; create them, or set MEMBERSYNC_KAFKA_CREATE_TOPICS=true",
		},
		"state of another key": {func(t *testing.T, r *rig) {
			t.Helper()
			r.markState(t)
			r.set("STATE_KEY", "another key made up for tests, 32 bytes or more")
		}, "redis", "another MEMBERSYNC_STATE_KEY"},
		"state of a key, and none set": {func(t *testing.T, r *rig) {
			t.Helper()
			r.set("STATE_KEY", "a key made up for tests, 32 bytes or more")
			r.markState(t)
			r.unset("STATE_KEY")
		}, "redis", "another MEMBERSYNC_STATE_KEY"},
		"kafka away":        {func(t *testing.T, r *rig) { t.Helper(); r.set("KAFKA_BROKERS", noServer) }, "kafka", "refused"},
		"redis away":        {func(t *testing.T, r *rig) { t.Helper(); r.set("REDIS_URL", "redis://"+noServer) }, "redis", "refused"},
		"redis that evicts": {func(_ *testing.T, r *rig) { r.tellPolicy("allkeys-lru") }, "redis", "noeviction"},
		"redis password": {func(_ *testing.T, r *rig) {
			r.set("REDIS_PASSWORD", "hushhush")
			r.set("REDIS_USERNAME", "unknown")
		}, "redis", ""},
		"crm away": {func(t *testing.T, r *rig) { t.Helper(); r.set("CRM_BASE_URL", "http://"+noServer) }, "crm", "refused"},
		"crm path": {func(_ *testing.T, r *rig) { r.set("CRM_PATH", "/elsewhere") }, "crm", "not the API's: it has no errorCode (HTTP 404)"},
		"crm secret": {func(_ *testing.T, r *rig) {
			r.unset("CRM_TOKEN")
			r.set("CRM_APP_ID", "A1")
			r.set("CRM_APP_SECRET", "hushhush-wrong")
			r.set("CRM_PERMANENT_CODE", "hushhush")
		}, "crm", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newService(t)
			tc.change(t, r)
			if status := r.run(t, "check", "-o=json"); status != exitFailed {
				t.Errorf("status %d", status)
			}
			for line := range strings.Lines(r.out.String()) {
				failed := strings.Contains(line, `"state":"failed"`)
				if wanted := strings.Contains(line, `"check":"`+tc.failed+`"`); failed != wanted || wanted && !strings.Contains(line, tc.detail) {
					t.Error(line)
				}
			}
		})
	}
}

// A state that was written under the key that is set is no fault.
func TestCheckOfInitializedState(t *testing.T) {
	t.Parallel()
	r := newService(t)
	r.set("STATE_KEY", "a key made up for tests, 32 bytes or more")
	r.markState(t)
	if status := r.run(t, "check"); status != exitDone {
		t.Errorf("status %d: %s", status, r.out)
	}
}

// markState marks the state of the group, as the first instance does, under the key that is set.
func (r *rig) markState(t *testing.T) {
	t.Helper()
	if err := r.parts(t).Store.MarkInitialized(t.Context(), r.variable("KAFKA_GROUP")); err != nil {
		t.Fatal(err)
	}
}

// A hosted Redis may not tell its policy: that is said, and no failure.
func TestCheckUnknownPolicy(t *testing.T) {
	t.Parallel()
	r := newService(t)
	r.tellPolicy("")
	if status := r.run(t, "check"); status != exitDone {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(r.out.String(), "redis          ok       reachable; it does not tell its maxmemory-policy") {
		t.Error(r.out)
	}
}

// A check leaves Kafka, Redis and the CRM as they were.
func TestCheckCreatesNoTopic(t *testing.T) {
	t.Parallel()
	r := newService(t)
	r.set("KAFKA_TOPIC", "absent-topic")
	r.run(t, "check")
	r.run(t, "check")
	if got := strings.Count(r.out.String(), "missing source topic: absent-topic; "); got != 2 {
		t.Error(r.out)
	}
}

func TestCheckOfBadConfiguration(t *testing.T) {
	t.Parallel()
	r := newRig()
	if status := r.run(t, "check"); status != exitUsage {
		t.Errorf("status %d", status)
	}
	r.want(t, "configuration  failed   see stderr\n"+
		"mapping        skipped  because of what failed before\n"+
		"kafka          skipped  because of what failed before\n"+
		"redis          skipped  because of what failed before\n"+
		"crm            skipped  because of what failed before\n", required("check"))
	r = newService(t)
	if status := r.run(t, "check", "--mapping=gone.yaml"); status != exitUsage {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(r.out.String(), `mapping        failed   mapping "gone.yaml" is not built in (`) {
		t.Error(r.out)
	}
	r = newService(t)
	if status := r.run(t, "check", "--kafka-tls", "--kafka-tls-ca-file=gone.pem"); status != exitUsage {
		t.Errorf("status %d", status)
	}
	if r.errs.String() != "membersync check: kafka: MEMBERSYNC_KAFKA_TLS_CA_FILE: cannot read the file that it names: file does not exist\n" {
		t.Error(r.errs)
	}
}

func TestCheckInterrupted(t *testing.T) {
	t.Parallel()
	r := newService(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&interrupt.Error{Signal: os.Interrupt})
	if status := r.app.run(ctx, []string{"check"}); status != exitInterrupted {
		t.Errorf("status %d", status)
	}
}

// Kafka's credentials are used by check, and a wrong one is told.
func TestCheckSASL(t *testing.T) {
	t.Parallel()
	broker := kafkatest.StartFake(t, kfake.EnableSASL(), kfake.SeedTopics(2, "in"),
		kfake.Superuser("PLAIN", "u1", "hushhush"), kfake.Superuser("SCRAM-SHA-256", "u2", "hushhush"), kfake.Superuser("SCRAM-SHA-512", "u3", "hushhush"))
	for _, tc := range []struct {
		mechanism, user, password string
		status                    int
	}{
		{"PLAIN", "u1", "hushhush", exitDone},
		{"SCRAM-SHA-256", "u2", "hushhush", exitDone},
		{"SCRAM-SHA-512", "u3", "hushhush", exitDone},
		{"PLAIN", "u1", "hushhush-wrong", exitFailed},
		{"SCRAM-SHA-512", "u3", "hushhush-wrong", exitFailed},
	} {
		r := newService(t)
		r.set("KAFKA_BROKERS", broker.Addrs()[0])
		r.set("KAFKA_TOPIC", "in")
		r.set("KAFKA_SASL_MECHANISM", tc.mechanism)
		r.set("KAFKA_SASL_USERNAME", tc.user)
		r.set("KAFKA_SASL_PASSWORD", tc.password)
		if status := r.run(t, "check"); status != tc.status {
			t.Errorf("%+v: status %d, %s", tc, status, r.out)
		}
	}
}
