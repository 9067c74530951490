package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/wiring"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

// An opsRig is a rig with the on-call engineer, who runs commands.
type opsRig struct {
	*rig
	hr     *hrSystem
	topics *ownTopics
	state  *stateStore
}

func newOpsRig(t *testing.T) *opsRig {
	t.Helper()
	return newOpsRigOn(t, kafkatest.Start(t))
}

func newOpsRigOn(t *testing.T, broker *kafkatest.Broker) *opsRig {
	t.Helper()
	r := newServiceOn(t, broker)
	r.set("STATE_KEY", "a key made up for tests, 32 bytes or more")
	source := r.topic()
	topics := dlq.Topics{Source: source, DLQ: source + ".dlq", Redrive: source + ".redrive", Audit: source + ".audit"}
	spec := dlq.TopicSpec{Topics: topics, Retention: time.Hour, Create: true}
	if err := dlq.EnsureTopics(t.Context(), r.client(t), spec); err != nil {
		t.Fatal(err)
	}
	return &opsRig{
		rig: r, hr: &hrSystem{broker: broker, topic: source, at: sampleAt()}, topics: &ownTopics{topics, broker}, state: newStateStore(t, r),
	}
}

// A stateStore is the Redis of an opsRig: the real one that MEMBERSYNC_TEST_REDIS names, or that of
// its rig.
type stateStore struct {
	redis.UniversalClient
	real    bool
	prefix  string // of its keys
	members string // a hash for lookups, which no other test has
}

func newStateStore(t *testing.T, r *rig) *stateStore {
	t.Helper()
	s := &stateStore{prefix: "ms"}
	if url := os.Getenv("MEMBERSYNC_TEST_REDIS"); url != "" {
		s.real, s.prefix = true, "mstest-"+strings.ToLower(rand.Text())
		r.set("REDIS_URL", url)
		r.set("REDIS_PREFIX", s.prefix)
	}
	s.members = "members-of-" + s.prefix
	var err error
	if s.UniversalClient, err = dedupe.Open(dedupe.ClientConfig{URL: r.variable("REDIS_URL")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.real {
			s.empty(t)
			_ = s.Del(context.WithoutCancel(t.Context()), s.members)
		}
		_ = s.Close()
	})
	return s
}

// empty takes away all that membersync keeps there.
func (s *stateStore) empty(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	all := s.Scan(ctx, 0, s.prefix+":*", 1000).Iterator()
	for all.Next(ctx) {
		if err := s.Del(ctx, all.Val()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := all.Err(); err != nil {
		t.Fatal(err)
	}
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
		t.Fatalf("%v: status %d: %s", args, status, stderr)
	}
	return stdout
}

// ids lists dead letters.
func (o *opsRig) ids(t *testing.T, args ...string) []string {
	t.Helper()
	ids := []string{}
	for _, one := range objects(t, o.must(t, append([]string{"dlq", "list", "-o", "json"}, args...)...)) {
		id, _ := one["id"].(string)
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
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
func (r *rig) parts(t *testing.T) *wiring.Parts {
	t.Helper()
	cfg, _, err := config.Load(nil, r.app.Environ, r.app.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := wiring.Build(cfg, wiring.Env{Log: r.errs, ReadFile: r.app.ReadFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(parts.Close)
	return parts
}

// running runs the service during the test until stop.
func (o *opsRig) running(t *testing.T) (stop func()) {
	t.Helper()
	return o.runningSince(t, "joined the group")
}

// runningSince is running, and returns when the service has logged the message.
func (o *opsRig) runningSince(t *testing.T, message string) (stop func()) {
	t.Helper()
	service := newRig()
	service.app.Environ = append(service.app.Environ, o.app.Environ...)
	maps.Copy(service.files, o.files)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() { done <- service.app.run(ctx, []string{"run"}) }()
	service.errs.await(t, message)
	return func() {
		cancel()
		if status := <-done; status != exitDone {
			t.Errorf("run ended with %d: %s", status, service.errs)
		}
	}
}

// serving is running until the end of the test.
func (o *opsRig) serving(t *testing.T) { t.Helper(); t.Cleanup(o.running(t)) }

// served runs the service until it has come to the end of the topics.
func (o *opsRig) served(t *testing.T) {
	t.Helper()
	stop := o.running(t)
	o.drained(t)
	stop()
}

// drained waits until the service has come to the end of the topics.
func (o *opsRig) drained(t *testing.T) {
	t.Helper()
	group := o.variable("KAFKA_GROUP")
	for o.broker.Lag(t, group, o.topics.Source)+o.broker.Lag(t, group, o.topics.Redrive) > 0 {
		if t.Context().Err() != nil {
			t.Fatal("not drained")
		}
	}
}
