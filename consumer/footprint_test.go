package consumer_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/mapper"
)

// recordLimit is what a buffered record may take, with a payload of payloadBytes and all that the
// service keeps for it: record, event, ticket, lane, watermark.
const (
	recordLimit  = 1 << 10
	payloadBytes = 500
)

// A full buffer takes no more than its records do. It is not parallel: it counts what this process
// has in memory.
func TestTheFootprintOfABufferedRecord(t *testing.T) { //nolint:paralleltest // see above
	if raceEnabled {
		t.Skip("the race detector makes allocations larger")
	}
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = 1
	const few, many = 2000, 18000
	perRecord := (filled(t, many) - filled(t, few)) / (many - few)
	t.Logf("%d bytes for each buffered record", perRecord)
	if perRecord > recordLimit {
		t.Errorf("a buffered record takes %d bytes, want at most %d", perRecord, recordLimit)
	}
}

// filled starts a service that holds so many records, each of another member, while the CRM does
// not answer. It returns how much the service has grown.
func filled(t *testing.T, records int) int64 {
	t.Helper()
	r := newFakeRig(t, 8)
	r.crm.Block(crmapitest.BeforeEffect)
	for n := 0; n < records; n += 1000 {
		msgs := make([]kafka.Message, 1000)
		for i := range msgs {
			msgs[i] = on(i%8, payload(n+i))
		}
		r.kafka.produce(msgs...)
	}
	before := inUse(t)
	inst := r.start(func(cfg *consumer.Config, parts *consumer.Parts) {
		cfg.Concurrency, parts.Observer = 1, discard{}
	})
	inst.waiting(records)
	r.eventually("the first call", func() bool { return r.crm.Blocked() == 1 })
	grown := inUse(t) - before
	r.crm.Release()
	inst.stop()
	return grown
}

// inUse returns the bytes that the service's own goroutines have allocated and still use. Those of
// the fake Kafka in the same process are not among them.
func inUse(t *testing.T) (bytes int64) {
	t.Helper()
	time.Sleep(time.Second) // the readers' last fetch, which finds nothing, is over
	for range 3 {
		runtime.GC() // what pools have kept goes at the second one, and the profile is one behind
	}
	n, ok := runtime.MemProfile(nil, false)
	var profile []runtime.MemProfileRecord
	for !ok {
		profile = make([]runtime.MemProfileRecord, n+n/8+64)
		n, ok = runtime.MemProfile(profile, false)
	}
	for _, p := range profile[:n] {
		if isOfService(p.Stack()) {
			bytes += p.InUseBytes()
		}
	}
	return bytes
}

func isOfService(stack []uintptr) bool {
	frames := runtime.CallersFrames(stack)
	for {
		frame, more := frames.Next()
		if strings.HasPrefix(frame.Function, "membersync/consumer/intake.") {
			return true
		}
		if !more {
			return false
		}
	}
}

// payload returns an event that states three of its fields, and has members that no mapping reads.
func payload(n int) kafka.Message {
	value := fmt.Sprintf(`{"eventId":"00000000-0000-4000-8000-%012d","occurredAt":"2026-11-22T08:00:00.123Z","sequence":%d,`+
		`"employeeId":"E%07d","openUserId":"FSUID_TEST%07d","before":{"name":"Sample Person","position":"Sample","qq":"1"},`+
		`"after":{"name":"Sample Person","position":"Position %d","mobile":"%011d","mainDepartmentId":%d,"qq":"1"},"note":""}`,
		n, n+1, n, n, n, n, 1000+n%50)
	value = strings.TrimSuffix(value, `"}`) + strings.Repeat("x", payloadBytes-len(value)) + `"}`
	return kafka.Message{Key: fmt.Appendf(nil, "E%07d", n), Value: []byte(value)}
}

// discard observes nothing, and keeps nothing.
type discard struct{}

func (discard) Decoded(mapper.Record, []mapper.Result) {}
func (discard) Called(consumer.CallAttempt)            {}
func (discard) Finished(consumer.EventResult)          {}
