package web_test

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/dlq"
)

// With the number of dead letters in MEMBERSYNC_TEST_SCALE, such as 100000, it measures how long pages
// take. Every hundredth has 100 KiB, all others 1 KiB.
func TestScale(t *testing.T) {
	t.Parallel()
	n, err := strconv.Atoi(os.Getenv("MEMBERSYNC_TEST_SCALE"))
	if err != nil {
		t.Skip("MEMBERSYNC_TEST_SCALE is not set")
	}
	r := newRig(t)
	var batch []kafka.Message
	for i := range n {
		d := sampleDeadLetter(int64(i))
		d.Reason = dlq.Reasons()[i%len(dlq.Reasons())]
		if d.Reason == dlq.ReasonInvalidRedrive {
			d.Reason = dlq.ReasonCRMRejected
		}
		d.FailedAt = time.Now().Add(-time.Duration(i) * time.Second)
		size := 1 << 10
		if i%100 == 0 {
			size *= 100
		}
		d.Value = []byte(`{"pad":"` + strings.Repeat("x", size) + `"}`)
		if batch = append(batch, d.Message()); len(batch) == 500 || i == n-1 {
			r.Broker.Produce(t, r.Topic+".dlq", batch...)
			batch = nil
		}
	}
	started := time.Now()
	_, r.url = r.StartUI()
	b := r.operator()
	b.must("/")
	first := time.Since(started)
	b.eventually("/dead-letters?q=state:open", "of "+strings.TrimPrefix(thousands(n), ","))
	t.Logf("%d dead letters: first page after %v, all read after %v", n, first, time.Since(started))
	for _, path := range []string{"/", "/dead-letters", "/dead-letters?q=state:open", "/dead-letters?q=reason:crm_rejected&page=20", "/dead-letters/0:77:0@1795334400000", "/audit"} {
		var times []time.Duration
		for range 21 {
			began := time.Now()
			b.must(path)
			times = append(times, time.Since(began))
		}
		slices.Sort(times)
		t.Logf("%s: median %v, slowest %v", path, times[len(times)/2], times[len(times)-1])
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("heap of this process, with the Kafka in it: %d MiB", m.HeapAlloc>>20)
}

// thousands writes a number with groups of three digits.
func thousands(n int) (text string) {
	digits := strconv.Itoa(n)
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			text += ","
		}
		text += string(d)
	}
	return text
}
