package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An output can be read while it is written.
type output struct {
	mu      sync.Mutex
	buffer  bytes.Buffer
	changed chan struct{}
	ended   chan struct{} // closed when the output is complete; nil: never
}

func newOutput() *output { return &output{changed: make(chan struct{}, 1)} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

// await waits until the output has all texts.
func (o *output) await(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for !strings.Contains(o.String(), text) {
			select {
			case <-o.changed:
				continue
			case <-o.ended:
			case <-t.Context().Done():
			}
			if !strings.Contains(o.String(), text) {
				t.Fatalf("%q lacks %q", o.String(), text)
			}
		}
	}
}

// A program is one run of devstack.
type program struct {
	out, errs *output
	signals   chan<- os.Signal
	exits     chan int // what the program was ended with at once
	status    chan int
}

// start runs the program in the background.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{out: newOutput(), errs: newOutput(), exits: make(chan int, 1), status: make(chan int, 1)}
	notified := make(chan chan<- os.Signal, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	p.out.ended = done
	t.Cleanup(func() {
		cancel()
		<-done
		if t.Failed() {
			t.Log("stderr: ", p.errs)
		}
	})
	go func() {
		defer close(done)
		p.status <- run(ctx, args, env{
			stdout: p.out, stderr: p.errs,
			notify: func(c chan<- os.Signal) { notified <- c },
			exit:   func(code int) { p.exits <- code },
		})
	}()
	p.signals = <-notified
	return p
}

// call runs the program to its end.
func call(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	out, errs := newOutput(), newOutput()
	status = run(t.Context(), args, env{stdout: out, stderr: errs})
	return status, out.String(), errs.String()
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path) //nolint:gosec // of testdata
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s: %s", path, d)
	}
}
