package dedupe_test

import (
	"fmt"
	"testing"

	"membersync/dedupe"
)

// BenchmarkDoneOf measures the reading of 1,024 marks in one round trip, by the number of members.
func BenchmarkDoneOf(b *testing.B) {
	for _, members := range []int{1024, 256} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			client, prefix := openBench(b), "bench-"+string(dedupe.NewToken())
			deletePrefix(b, client, prefix)
			s := newStore(b, client, func(o *dedupe.Options) { o.Prefix = prefix })
			var events []dedupe.MemberEvent
			for n := range 1024 {
				m, version := dedupe.NewMember("b", "c", fmt.Sprint(n%members)), fmt.Sprintf("%064d", n)
				id := dedupe.NewEventID("t", version, 0, version)
				events = append(events, dedupe.MemberEvent{Member: m, ID: id})
				if err := s.Restore(b.Context(), m, []dedupe.DoneEvent{{ID: id, Outcome: "applied"}}); err != nil {
					b.Fatal(err)
				}
			}
			before, beforeServer := ownCPU(b), serverCPU(b, client)
			b.ReportAllocs()
			for b.Loop() {
				grants, err := s.DoneOf(b.Context(), events)
				if err != nil || !grants[0].Done || !grants[1023].Done {
					b.Fatal(err, grants[0])
				}
			}
			b.ReportMetric(float64((ownCPU(b)-before).Nanoseconds())/float64(b.N)/1024, "client-ns/event")
			b.ReportMetric(float64((serverCPU(b, client)-beforeServer).Nanoseconds())/float64(b.N)/1024, "server-ns/event")
		})
	}
}
