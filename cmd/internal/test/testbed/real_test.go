package testbed

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/crmapi/crmapitest"
)

// The servers that other tests use. Without them these tests are skipped.
const (
	kafkaEnv = "MEMBERSYNC_TEST_KAFKA"
	redisEnv = "MEMBERSYNC_TEST_REDIS"
)

const realLimit = 4 * time.Minute

// open opens a testbed for one test.
func open(t *testing.T, opts Options) *Testbed {
	t.Helper()
	s, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.Dir()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the folder is still there: %v", err)
		}
	})
	return s
}

func needServers(t *testing.T) Options {
	t.Helper()
	opts := Options{Kafka: os.Getenv(kafkaEnv), Redis: os.Getenv(redisEnv)}
	if opts.Kafka == "" || opts.Redis == "" {
		t.Skipf("%s and %s name no servers", kafkaEnv, redisEnv)
	}
	opts.Kafka, _, _ = strings.Cut(opts.Kafka, ",")
	return opts
}

func fakeCRM(t *testing.T) (*crmapitest.Server, *HTTP) {
	t.Helper()
	crm := crmapitest.New(crmapitest.Options{CorpID: CorpID, Tokens: []string{Token}, AutoCreate: true})
	h, err := Serve(t.Context(), crm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return crm, h
}

// changes returns n events, one of each employee, numbered from from.
func changes(from, n, partitions int) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for i := from; i < from+n; i++ {
			if !yield((Event{Employee: i, Sequence: 1, After: fmt.Sprintf(`{"position":"Position %d"}`, i)}).Record(partitions)) {
				return
			}
		}
	}
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestOnGivenServers(t *testing.T) {
	t.Parallel()
	s := open(t, needServers(t))
	ctx, cancel := context.WithTimeoutCause(t.Context(), realLimit, errLimit)
	defer cancel()
	crm, h := fakeCRM(t)
	const partitions, events = 3, 3000 // more than one batch
	job, err := s.NewJob(ctx, partitions, h.URL())
	must(t, "the topic", err)
	must(t, "producing", job.Produce(ctx, changes(0, events, partitions)))
	if lag, err := job.Lag(ctx); err != nil || lag != events {
		t.Errorf("lag %d before the first instance, %v", lag, err)
	}

	i, err := job.Start(ctx, nil)
	must(t, "starting", err)
	must(t, "ready", i.AwaitReady(ctx))
	must(t, "draining", job.AwaitDrained(ctx))
	wantWork(ctx, t, i, events)
	if n := crm.Stats().Requests; n != events {
		t.Errorf("%d calls, want %d", n, events)
	}
	must(t, "kill -9", errors.Join(i.Kill(), i.Kill()))
	if _, err := i.Usage(); err == nil {
		t.Error("a killed process has a usage")
	}
	for _, server := range []*Server{s.Kafka(), s.Redis()} {
		if err := server.Kill(ctx); !errors.Is(err, ErrForeign) {
			t.Errorf("killing a server that was given: %v", err)
		}
	}

	second, err := job.Start(ctx, map[string]string{"KAFKA_GROUP": job.Group + "-2"})
	must(t, "starting again", err)
	must(t, "ready again", second.AwaitReady(ctx))
	must(t, "SIGTERM", second.Terminate(ctx))
	if n, err := job.DeadLetters(ctx); n != 0 || err != nil {
		t.Errorf("%d dead letters, %v", n, err)
	}
	wantNothingLeft(ctx, t, s, job)
}

// wantWork checks what an instance reports about itself.
func wantWork(ctx context.Context, t *testing.T, i *Instance, events int) {
	t.Helper()
	m, err := i.Metrics(ctx)
	must(t, "metrics", err)
	if n := m.Sum("membersync_events_total", `outcome="applied"`); int(n) != events {
		t.Errorf("%v events applied, want %d", n, events)
	}
	u, err := i.Usage()
	if err != nil || u.PeakRSS < 10<<20 || u.CPU < tick {
		t.Errorf("%+v, %v", u, err)
	}
	if l, ok, err := i.FindLog("joined the group"); !ok || err != nil || l.Time.Before(i.Began()) {
		t.Errorf("%+v, %t, %v", l, ok, err)
	}
}

func wantNothingLeft(ctx context.Context, t *testing.T, s *Testbed, job *Job) {
	t.Helper()
	keys := func() int {
		all, err := s.RedisClient().Keys(ctx, job.Prefix+":*").Result()
		must(t, "keys", err)
		return len(all)
	}
	if keys() == 0 {
		t.Error("no keys in Redis, so the prefix is not the job's")
	}
	must(t, "dropping", job.Drop(ctx))
	if n := keys(); n != 0 {
		t.Errorf("%d keys left in Redis", n)
	}
	if ends, err := s.Ends(ctx, job.Topic); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("the topic is still there: %v, %v", ends, err)
	}
	if lag, err := job.Lag(ctx); err == nil {
		t.Errorf("lag %d of a topic that is gone", lag)
	}
	if n, err := s.Count(ctx, job.Topic); n != 0 || err != nil {
		t.Errorf("%d records in a topic that is gone, %v", n, err)
	}
}

func TestOwnServersRestart(t *testing.T) {
	t.Parallel()
	needServers(t) // without servers there may be no Kafka to start either
	s := open(t, Options{AppendOnly: true})
	ctx, cancel := context.WithTimeoutCause(t.Context(), realLimit, errLimit)
	defer cancel()
	_, h := fakeCRM(t)
	job, err := s.NewJob(ctx, 1, h.URL())
	must(t, "the topic", err)
	must(t, "producing", job.Produce(ctx, changes(0, 10, 1)))
	must(t, "a key", s.RedisClient().Set(ctx, "kept", "yes", 0).Err())

	for _, server := range []*Server{s.Kafka(), s.Redis()} {
		before, err := server.pid()
		must(t, "pid", err)
		must(t, "kill -9", server.Kill(ctx))
		if !isGone(before) {
			t.Errorf("%s is still there", server.name)
		}
		must(t, "start", server.Start(ctx))
		must(t, "stop", errors.Join(server.Stop(ctx), server.Stop(ctx)))
		must(t, "start", server.Start(ctx))
		must(t, "freeze", errors.Join(server.Freeze(ctx), server.Thaw(ctx)))
		if u, err := server.Usage(); err != nil || u.PeakRSS < 1<<20 {
			t.Errorf("%s: %+v, %v", server.name, u, err)
		}
	}
	if got, err := s.RedisClient().Get(ctx, "kept").Result(); got != "yes" || err != nil {
		t.Errorf("Redis has forgotten: %q, %v", got, err)
	}
	eventually(t, "the records", func() bool { n, err := s.Count(ctx, job.Topic); return n == 10 && err == nil })
	must(t, "producing again", job.Produce(ctx, changes(10, 5, 1)))
}

func TestOpenFailsCleanly(t *testing.T) {
	t.Parallel()
	opts := needServers(t)
	opts.Redis = "redis://127.0.0.1:1/0" // nothing listens there
	opts.Binary = "/nowhere"
	ctx, cancel := context.WithCancelCause(t.Context())
	if s, err := Open(ctx, opts); err == nil {
		t.Error("opened without a Redis", s.Close(ctx))
	}
	cancel(errLimit)
	if s, err := Open(ctx, Options{}); err == nil {
		t.Error("opened after the end", s.Close(ctx))
	}
}
