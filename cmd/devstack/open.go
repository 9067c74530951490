package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"membersync/crmapi/crmapitest"
)

// runOpen runs with a stream of samples until it is ended.
func runOpen(ctx context.Context, a *arguments, e env) int {
	if a.rate < 0 || a.count < 0 {
		e.complain("--rate and --count should not be less than 0")
		return exitUsage
	}
	s, err := startStack(ctx, a.ports, a.failEvery, a.crmAPI)
	if err != nil {
		e.complain(err.Error())
		return exitUsage
	}
	defer s.close()
	s.places(e.stdout)
	legend(e.stdout)
	if a.mapping != canonical {
		a.rate = 0
	}
	watch := newAccount(e.stdout, s.object(), a.verbose)
	status, err := s.with(ctx, a, e, watch, func(ctx context.Context) error {
		pagesCtx, stop := context.WithCancelCause(ctx)
		var pages sync.WaitGroup
		pages.Go(func() { s.runUI(pagesCtx, a, e) })
		pages.Go(func() { s.watchPauses(pagesCtx, watch) })
		defer pages.Wait()
		defer stop(errDone)
		return s.feed(ctx, a, e.stdout, watch)
	})
	watch.summary()
	switch {
	case err != nil && !errors.Is(context.Cause(ctx), err):
		e.complain(err.Error())
		return exitFailed
	case status != exitDone:
		return status
	}
	return ended(ctx)
}

// pausePoll is how often the service is asked whether calls are paused.
const pausePoll = 500 * time.Millisecond

// watchPauses prints the begin and the end of each pause, until the context ends.
func (s *stack) watchPauses(ctx context.Context, watch *account) {
	tick := time.NewTicker(pausePoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		body, err := ask(ctx, "http://"+s.admin.Addr().String()+"/readyz")
		if err != nil { // not ready yet, or draining
			continue
		}
		if body = strings.TrimSpace(body); body == "ok" {
			body = ""
		}
		watch.paused(body)
	}
}

// feed sends the samples, prints what to try next, and waits until the context ends.
func (s *stack) feed(ctx context.Context, a *arguments, stdout io.Writer, watch *account) error {
	if a.rate > 0 {
		out := newSender(sampleTopic, s.brokers())
		defer out.close()
		samples := newStream("ev-", 0, 1)
		err := pace(ctx, a.rate, a.count, func() error { return out.send(ctx, samples.next()...) })
		if err == nil && ctx.Err() == nil {
			err = s.settle(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		watch.summary()
	}
	s.next(stdout, a)
	<-ctx.Done()
	return nil
}

// places prints where everything listens.
func (s *stack) places(w io.Writer) {
	say(w, `membersync, Kafka, Redis and a fake CRM in this process. All people are made up. Ctrl-C ends it.

  Kafka     %s, topic %s
  Redis     %s
  fake CRM  http://%[4]s, its members: http://%[4]s/_fake/members
  health    http://%[5]s/readyz, and /livez, /metrics
  pages     http://%[6]s/

`, s.brokers(), sampleTopic, s.redis.Addr(), s.crm.addr, s.admin.Addr(), s.ui.Addr())
}

// next prints what to try, as commands of a shell in the folder of the repository.
func (s *stack) next(w io.Writer, a *arguments) {
	say(w, "\nWhat to try next, from another terminal:\n\n")
	say(w, "  eval \"$(go run ./cmd/devstack env%s)\"\n", s.flags(a))
	say(w, "  go run ./cmd/membersync check\n")
	if a.mapping != canonical {
		say(w, `
Events are read by the mapping %s. The fake CRM knows the members
%s to %s and the departments 1 to %d. An event about any other is
dead-lettered as crm_not_found. Send an event, and its line appears here:

  go run ./cmd/membersync map --explain event.json
  go run ./cmd/devstack send event.json
`, shown(a.mapping), member(1), member(samplePeople), departments)
		return
	}
	say(w, `  go run ./cmd/membersync explain E0001
  go run ./cmd/membersync dlq list

Send an event of your own, and its line appears here. The CRM refuses it once:

  echo '%s' > event.json
  curl -d '{"member":"%s","code":%d}' http://%s/_fake/fault
  go run ./cmd/devstack send event.json
  go run ./cmd/membersync explain %s

Process that dead letter again, now that the CRM accepts it:

  go run ./cmd/membersync dlq redrive --employee %[5]s --note "created in the CRM"

All of this can be pasted again: the time makes it another event.
`, ownEvent(), member(samplePeople), crmapitest.CodeNoMember, s.crm.addr, employee(samplePeople))
}

// ownEvent is an event about the member that no sample changes, within single quotes of a shell.
// The time makes it another event whenever it is pasted. Its field is not the README's, so neither
// event supersedes the other.
func ownEvent() string {
	const now = "'$(date +%s)'"
	return fmt.Sprintf(`{"eventId":"mine-%s","sequence":%s,"employeeId":%q,
    "openUserId":%q,"after":{"email":"nine-%s@sample.invalid"}}`,
		now, now, employee(samplePeople), member(samplePeople), now)
}

// flags are those of devstack env for this stack: what differs from the defaults.
func (s *stack) flags(a *arguments) string {
	var b strings.Builder
	b.WriteString(s.portFlags(a.ports.offset))
	if a.mapping != canonical {
		b.WriteString(" --mapping " + a.mapping)
	}
	if s.api == objectAPI {
		b.WriteString(" --crm-api " + objectAPI)
	}
	return b.String()
}

// portFlags are the flags for the ports: the offset if it explains all of them, else each port that
// differs from the default.
func (s *stack) portFlags(offset int) string {
	defaults := defaultPorts()
	var each strings.Builder
	isMoved := offset != 0
	for _, part := range []struct {
		flag, addr string
		usual      int
	}{
		{"kafka-port", s.brokers(), defaults.kafka}, {"redis-port", s.redis.Addr(), defaults.redis}, {"crm-port", s.crm.addr, defaults.crm},
	} {
		if part.addr != address(part.usual) {
			_, port, _ := net.SplitHostPort(part.addr)
			fmt.Fprintf(&each, " --%s %s", part.flag, port)
		}
		isMoved = isMoved && part.addr == address(part.usual+offset)
	}
	if isMoved {
		return fmt.Sprintf(" --port-offset %d", offset)
	}
	return each.String()
}

// printEnv is the command env.
func printEnv(_ context.Context, a *arguments, e env) int {
	p := a.ports
	settings := settingsOf(address(p.moved(p.kafka)), address(p.moved(p.redis)), address(p.moved(p.crm)), a.crmAPI)
	if a.mapping != canonical {
		settings = append(settings, "MEMBERSYNC_MAPPING="+a.mapping)
	}
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		say(e.stdout, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	return exitDone
}
