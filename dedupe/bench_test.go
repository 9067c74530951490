package dedupe_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"membersync/dedupe"
)

// BenchmarkAcquireComplete measures the two round trips of a fold, by the number of its events. It
// runs on the server that MEMBERSYNC_TEST_REDIS names, or on miniredis. Half of the events state
// other values than the last time. 64 folds run at once: in one variant all on one store, in the
// other each on its own store, which means without pipelines.
func BenchmarkAcquireComplete(b *testing.B) {
	for _, events := range []int{1, 20, 500} {
		for _, stores := range []int{64, 1} {
			b.Run(fmt.Sprintf("events=%d/stores=%d", events, stores), func(b *testing.B) {
				client, prefix := openBench(b), "bench-"+string(dedupe.NewToken())
				deletePrefix(b, client, prefix)
				free := make(chan *dedupe.Store, 64)
				var s *dedupe.Store
				for i := range cap(free) {
					if i < stores {
						s = newStore(b, client, func(o *dedupe.Options) { o.Prefix = prefix })
					}
					free <- s
				}
				measureFolds(b, client, free, events)
			})
		}
	}
}

func measureFolds(b *testing.B, client redis.UniversalClient, stores chan *dedupe.Store, events int) {
	b.Helper()
	var round atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(32)
	before, beforeServer := ownCPU(b), serverCPU(b, client)
	b.RunParallel(func(pb *testing.PB) {
		s := <-stores
		for pb.Next() {
			fold(b, s, int(round.Add(1)), events)
		}
	})
	perFold := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N) }
	b.ReportMetric(perFold(ownCPU(b)-before), "client-µs/fold")
	b.ReportMetric(perFold(serverCPU(b, client)-beforeServer), "server-µs/fold")
	b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
}

func openBench(b *testing.B) redis.UniversalClient {
	b.Helper()
	url := os.Getenv("MEMBERSYNC_TEST_REDIS")
	if url == "" {
		return openMini(b)
	}
	opts, err := redis.ParseURL(url)
	if err != nil {
		b.Fatal(err)
	}
	opts.ReadTimeout, opts.PoolSize = 20*time.Second, 64 // the server is meant to be the bottleneck
	client := redis.NewClient(opts)
	closeAtEnd(b, client)
	return client
}

// ownCPU is the processor time that this process has used. It includes miniredis.
func ownCPU(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// serverCPU is the processor time that a real server has used.
func serverCPU(b *testing.B, client redis.UniversalClient) time.Duration {
	b.Helper()
	seconds := infoOf(b, client, "cpu", "used_cpu_user") + infoOf(b, client, "cpu", "used_cpu_sys")
	return time.Duration(seconds * float64(time.Second))
}

// infoOf is a number that a real server reports of itself; 0 if it does not.
func infoOf(b *testing.B, client redis.UniversalClient, section, name string) float64 {
	b.Helper()
	for line := range strings.Lines(client.Info(b.Context(), section).Val()) {
		text, found := strings.CutPrefix(strings.TrimSpace(line), name+":")
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	return 0
}

// fold runs acquire and complete for events of three fields, on a member that no concurrent fold
// uses.
func fold(b *testing.B, s *dedupe.Store, round, events int) {
	b.Helper()
	member := dedupe.NewMember("https://crm.invalid", "corp-test", fmt.Sprint(round%4096))
	req := dedupe.AcquireRequest{Member: member, Token: dedupe.NewToken()}
	c := dedupe.Completion{Member: member, Token: req.Token}
	names := []string{"mobile", "position", "mainDepartmentId"}
	for i := range events {
		version := fmt.Sprintf("%064d", round*events+i)
		e := dedupe.Event{ID: dedupe.NewEventID("topic", version, 0, version), Version: version}
		for _, name := range names {
			e.Fields = append(e.Fields, dedupe.Field{Name: name, Value: fmt.Append(nil, round/4096%2)})
		}
		req.Events = append(req.Events, e)
		c.Done = append(c.Done, dedupe.DoneEvent{ID: e.ID, Outcome: "applied", Version: version, Fields: names})
		c.Sent = e.Fields
	}
	if g, err := s.Acquire(b.Context(), req); err != nil || g.Leased {
		b.Error("acquire:", g.Leased, err)
		return
	}
	if late, err := s.Complete(b.Context(), c); err != nil || late {
		b.Error("complete:", late, err)
	}
}
