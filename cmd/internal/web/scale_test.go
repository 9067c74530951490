package web_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/test/testbed"
	"membersync/dlq"
)

// With the number of dead letters in MEMBERSYNC_TEST_SCALE, such as 100000, it measures how long
// pages take. Every hundredth has 100 KiB, every thousandth 900 KiB, all others 1 KiB. With the
// path of a binary in MEMBERSYNC_TEST_BINARY, it measures the memory of membersync ui, too.
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
		d.FailedAt = time.Now().Add(-time.Duration(i*7919%n) * time.Second) // in no order
		size := 1 << 10
		switch {
		case i%1000 == 0:
			size *= 900
		case i%100 == 0:
			size *= 100
		}
		d.Value = []byte(`{"pad":"` + strings.Repeat("x", size) + `"}`)
		if batch = append(batch, d.Message()); len(batch) == 20 || i == n-1 {
			r.Broker.Produce(t, r.Topic+".dlq", batch...)
			batch = nil
		}
	}
	r.operator().eventually("/dead-letters?q=state:open", "of "+thousands(n))
	before := heap()
	started := time.Now()
	_, r.url = r.StartUI()
	b := r.operator()
	b.must("/")
	first := time.Since(started)
	b.eventually("/dead-letters?q=state:open", "of "+thousands(n))
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
	t.Logf("heap of a second process like this one: %d MiB", (heap()-before)>>20)
	if binary := os.Getenv("MEMBERSYNC_TEST_BINARY"); binary != "" {
		r.memoryOf(t, binary, n)
	}
}

// memoryOf runs the pages as a process of their own until they have read everything.
func (r *rig) memoryOf(t *testing.T, binary string, n int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "ui", "-o", "json") //nolint:gosec // the path is given by who runs the test
	cmd.Env = testbed.Environ(r.Variables, "MEMBERSYNC_UI_ADDR=127.0.0.1:0", "MEMBERSYNC_UI_VIEWER_TOKEN=made-up-for-tests")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var place struct{ URL string }
	if err := json.NewDecoder(out).Decode(&place); err != nil {
		t.Fatal(err)
	}
	for open := 0; open < n; time.Sleep(200 * time.Millisecond) {
		res, err := (&http.Client{Timeout: time.Minute}).Get(place.URL + "metrics") //nolint:noctx // of this test's own process
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		open = 0
		for _, m := range regexp.MustCompile(`(?m)^membersync_dead_letters_open\{[^}]*\} (\d+)`).FindAllSubmatch(text, -1) {
			count, _ := strconv.Atoi(string(m[1]))
			open += count
		}
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/status")
	if err != nil {
		t.Skip(err)
	}
	t.Logf("a process of its own has read all after %v: %q", time.Since(started), regexp.MustCompile(`Vm(HWM|RSS):\s+\d+ kB`).FindAll(status, -1))
}

// heap is the size of what is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far below the bound
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
