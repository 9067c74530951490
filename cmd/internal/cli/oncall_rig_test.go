package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/wiring"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/kafkatest"
	"membersync/mapper"
)

// An opsRig is a rig with dead letters. Its Redis is the real one that MEMBERSYNC_TEST_REDIS names,
// if there is one.
type opsRig struct {
	*rig
	topics   dlq.Topics
	failedAt time.Time
	real     redis.UniversalClient // nil: miniredis
}

func newOpsRig(t *testing.T) *opsRig {
	t.Helper()
	return newOpsRigOn(t, kafkatest.Start(t))
}

func newOpsRigOn(t *testing.T, broker *kafkatest.Broker) *opsRig {
	t.Helper()
	o := &opsRig{rig: newServiceOn(t, broker), failedAt: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}
	o.takeRealRedis(t)
	o.set("STATE_KEY", "a key made up for tests, 32 bytes or more")
	source := o.variable("KAFKA_TOPIC")
	o.topics = dlq.Topics{Source: source, DLQ: source + ".dlq", Redrive: source + ".redrive", Audit: source + ".audit"}
	spec := dlq.TopicSpec{Topics: o.topics, Retention: time.Hour, Create: true}
	if err := dlq.EnsureTopics(t.Context(), o.client(t), spec); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *opsRig) takeRealRedis(t *testing.T) {
	t.Helper()
	url := os.Getenv("MEMBERSYNC_TEST_REDIS")
	if url == "" {
		return
	}
	client, err := dedupe.Open(dedupe.ClientConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	o.real = client
	o.set("REDIS_URL", url)
	o.set("REDIS_PREFIX", "mstest-"+strings.ToLower(rand.Text()))
	t.Cleanup(func() {
		o.emptyRedis(t)
		_ = client.Del(context.WithoutCancel(t.Context()), o.hash())
		_ = client.Close()
	})
}

// emptyRedis takes away all that membersync keeps there.
func (o *opsRig) emptyRedis(t *testing.T) {
	t.Helper()
	if o.real == nil {
		o.redis.FlushAll()
		return
	}
	ctx := context.WithoutCancel(t.Context())
	all := o.real.Scan(ctx, 0, o.variable("REDIS_PREFIX")+":*", 1000).Iterator()
	for all.Next(ctx) {
		if err := o.real.Del(ctx, all.Val()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
}

// event is a canonical event that states two fields; its values must not be seen.
func event(offset int64, position string) string {
	return fmt.Sprintf(`{"eventId":"ev-%d","sequence":%d,"employeeId":"E%d","openUserId":"FSUID_TEST%d","after":{"position":%q,"qq":"needle-qq"}}`,
		offset, offset+1, offset, offset, position)
}

// sampleTime ends the full ids of the rig's dead letters.
const sampleTime = "@1795334400000"

// deadLetter is that of the event at an offset of the source topic; minute is when it failed.
func (o *opsRig) deadLetter(offset int64, reason dlq.Reason, minute, redrives int) dlq.DeadLetter {
	at := o.failedAt.Add(time.Duration(minute) * time.Minute)
	return dlq.DeadLetter{
		Key: fmt.Appendf(nil, "E%d", offset), Value: []byte(event(offset, "needle-position")),
		Headers: []dlq.Header{{Key: "trace", Value: []byte("needle-header")}},
		Source:  dlq.Source{Topic: o.topics.Source, Partition: 0, Offset: offset, Timestamp: o.failedAt},
		Reason:  reason, Error: "what was wrong", CRMCode: "100001", CRMTraceID: "crm-1", ThirdTraceID: "third-1",
		EventID: fmt.Sprintf("ev-%d", offset), EmployeeID: fmt.Sprintf("E%d", offset), Count: 1, Attempts: 1,
		FirstFailedAt: at, FailedAt: at, Group: "membersync", Version: "v1", Redrives: redrives,
	}
}

func (o *opsRig) writeDeadLetters(t *testing.T, all ...dlq.DeadLetter) {
	t.Helper()
	var messages []kafka.Message
	for _, l := range all {
		messages = append(messages, l.Message())
	}
	o.broker.Produce(t, o.topics.DLQ, messages...)
}

// targetLine is the line of a prompt that differs from run to run.
var targetLine = regexp.MustCompile(`target: brokers \S+, topic TOPIC, group \S+, CRM [^\n]*\n`)

// do runs a command and returns what it printed, with the topic called TOPIC.
func (o *opsRig) do(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	o.out, o.errs = &output{changed: make(chan struct{}, 1)}, &output{changed: make(chan struct{}, 1)}
	o.app.Stdout, o.app.Stderr = o.out, o.errs
	status = o.run(t, args...)
	name := strings.NewReplacer(o.topics.Source, "TOPIC")
	stderr = targetLine.ReplaceAllString(name.Replace(o.errs.String()), "target: brokers BROKERS, topic TOPIC, group GROUP, CRM CRM\n")
	return status, name.Replace(o.out.String()), stderr
}

// must runs a command that succeeds, and returns stdout.
func (o *opsRig) must(t *testing.T, args ...string) string {
	t.Helper()
	status, stdout, stderr := o.do(t, args...)
	if status != exitDone {
		t.Errorf("%v: status %d: %s", args, status, stderr)
	}
	return stdout
}

// showAudit returns "action subject result note" of the audit records, by partition.
func (o *opsRig) audit(t *testing.T) []string {
	t.Helper()
	var lines []string
	for _, m := range o.broker.ReadAll(t, o.topics.Audit) {
		a, err := dlq.ParseAudit(m.Value)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Join([]string{string(a.Action), a.Subject, a.Result, a.Actor, a.Note}, " "))
	}
	return lines
}

// objects parses json output.
func objects(t *testing.T, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(text) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, one)
	}
	return all
}

// parts are those that the configuration makes.
func (o *opsRig) parts(t *testing.T) *wiring.Parts {
	t.Helper()
	cfg, _, err := config.Load(nil, o.app.Environ, o.app.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := wiring.Build(cfg, wiring.Env{Log: o.errs, ReadFile: o.app.ReadFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(parts.Close)
	return parts
}

func (o *opsRig) store(t *testing.T) *dedupe.Store {
	t.Helper()
	return o.parts(t).Store
}

// versionOf is the version of an event at an offset.
func (o *opsRig) versionOf(t *testing.T, value string, offset int64) string {
	t.Helper()
	results := o.parts(t).Mapping.MapWith(mapper.Record{Topic: o.topics.Source, Offset: offset, Time: o.failedAt, Value: []byte(value)}, nil)
	return string(results[0].Event.Version)
}
