package dedupe_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"membersync/dedupe"
)

// BenchmarkAcquireComplete measures the two round trips of a fold, by the number of its
// events, on the server that MEMBERSYNC_TEST_REDIS names, or else on miniredis. Half of
// the events state other values than the last time; 64 folds run at once.
func BenchmarkAcquireComplete(b *testing.B) {
	var client redis.UniversalClient
	if url := os.Getenv("MEMBERSYNC_TEST_REDIS"); url != "" {
		opts, err := redis.ParseURL(url)
		if err != nil {
			b.Fatal(err)
		}
		opts.ReadTimeout, opts.PoolSize = 20*time.Second, 64 // the server is meant to be the bottleneck
		client = redis.NewClient(opts)
		closeAtEnd(b, client)
	} else {
		client = openMini(b)
	}
	for _, events := range []int{1, 20, 500} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			prefix := "bench-" + string(dedupe.NewToken())
			s := newStore(b, client, func(o *dedupe.Options) { o.Prefix = prefix })
			deletePrefix(b, client, prefix)
			var round atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					fold(b, s, int(round.Add(1)), events)
				}
			})
			b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// fold takes events of three fields through acquire and complete, on a member that no
// other fold of the moment has.
func fold(b *testing.B, s *dedupe.Store, round, events int) {
	b.Helper()
	member := dedupe.NewMember("https://crm.invalid", "corp-test", fmt.Sprint(round%4096))
	req := dedupe.AcquireRequest{Member: member, Token: dedupe.NewToken()}
	c := dedupe.Completion{Member: member, Token: req.Token}
	names := []string{"mobile", "position", "mainDepartmentId"}
	for i := range events {
		version := fmt.Sprintf("%040d", round*events+i)
		e := dedupe.Event{ID: dedupe.NewEventID("topic", version, 0, version), Version: version}
		for _, name := range names {
			e.Fields = append(e.Fields, dedupe.Field{Name: name, Value: fmt.Append(nil, round/4096%2)})
		}
		req.Events = append(req.Events, e)
		c.Done = append(c.Done, dedupe.DoneEvent{ID: e.ID, Outcome: "applied", Version: version, Fields: names})
		c.Sent = e.Fields
	}
	if g, err := s.Acquire(b.Context(), req); err != nil || g.Held {
		b.Error("acquire:", g.Held, err)
		return
	}
	if late, err := s.Complete(b.Context(), c); err != nil || late {
		b.Error("complete:", late, err)
	}
}
