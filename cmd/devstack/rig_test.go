package main

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"membersync/cmd/internal/test/testbed/servicetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A program is one run of devstack.
type program struct {
	out, errs *servicetest.Output
	signals   chan<- os.Signal
	exits     chan int // what the program was ended with at once
	status    chan int
	done      chan struct{} // closed when the output is complete
}

// await waits until the output has all texts.
func (p *program) await(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		p.out.Await(t, regexp.QuoteMeta(text), p.done)
	}
}

// start runs the program in the background.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{out: &servicetest.Output{}, errs: &servicetest.Output{}, exits: make(chan int, 1), status: make(chan int, 1), done: make(chan struct{})}
	notified := make(chan chan<- os.Signal, 1)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() {
		cancel()
		<-p.done
		if t.Failed() {
			t.Log("stderr: ", p.errs)
		}
	})
	go func() {
		defer close(p.done)
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
	return callWith(t, nil, args...)
}

// callWith is call with variables of the environment, each NAME=VALUE. The last of a name counts.
func callWith(t *testing.T, environ []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs servicetest.Output
	status = run(t.Context(), args, env{stdout: &out, stderr: &errs, getenv: func(name string) (value string) {
		for _, setting := range environ {
			if found, ok := strings.CutPrefix(setting, name+"="); ok {
				value = found
			}
		}
		return value
	}})
	return status, out.String(), errs.String()
}
