package servicetest

import (
	"bytes"
	"regexp"
	"sync"
	"testing"
	"time"
)

// Limit bounds how long a test waits for an event.
const Limit = 90 * time.Second

// Eventually polls until the condition holds, and fails the test after [Limit].
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	EventuallyWithin(tb, Limit, what, ok)
}

// EventuallyWithin polls until the condition holds, and fails the test after the limit.
func EventuallyWithin(tb testing.TB, limit time.Duration, what string, ok func() bool) {
	tb.Helper()
	end := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			tb.Fatalf("waited %v for %s", limit, what)
		}
	}
}

// An Output holds what a program prints. It is safe for concurrent use. The zero value is empty.
type Output struct {
	mu      sync.Mutex
	buffer  bytes.Buffer
	changed chan struct{} // closed at the next write; nil: no goroutine waits
}

// Write implements [io.Writer].
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
	return o.buffer.Write(p)
}

// String returns everything printed so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

func (o *Output) nextWrite() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return o.changed
}

// Await waits until the output matches the pattern and returns the match with its groups. It fails
// the test if the program ends (done) without a match, and after [Limit].
func (o *Output) Await(tb testing.TB, pattern string, done <-chan struct{}) []string {
	tb.Helper()
	return o.AwaitFrom(tb, 0, pattern, done)
}

// AwaitFrom is Await for what is printed after the first from bytes.
func (o *Output) AwaitFrom(tb testing.TB, from int, pattern string, done <-chan struct{}) []string {
	tb.Helper()
	re := regexp.MustCompile(pattern)
	limit := time.After(Limit)
	for ended := false; ; {
		written := o.nextWrite()
		if match := re.FindStringSubmatch(o.String()[from:]); match != nil {
			return match
		}
		if ended {
			tb.Fatalf("the program has ended without %s in its output:\n%s", pattern, o)
		}
		select {
		case <-written:
		case <-done:
			ended = true
		case <-limit:
			tb.Fatalf("waited %v for %s in the output:\n%s", Limit, pattern, o)
		}
	}
}
