package main

import (
	"context"
	"errors"
	"io"
	"strings"
)

// runOpen runs with a stream of samples until it is ended.
func runOpen(ctx context.Context, a *arguments, e env) int {
	if a.rate < 0 {
		e.complain("--rate should not be less than 0")
		return exitUsage
	}
	s, err := startStack(ctx, a.ports, a.failEvery, a.crmAPI)
	if err != nil {
		e.complain(err.Error())
		return exitUsage
	}
	defer s.close()
	s.guide(e.stdout, a.mapping)
	if a.mapping != canonical {
		a.rate = 0
	}
	watch := newAccount(e.stdout, s.object())
	status, err := s.with(ctx, a, e, watch, func(ctx context.Context) error { return s.feed(ctx, a.rate) })
	watch.count.print(e.stdout)
	switch {
	case err != nil && !errors.Is(context.Cause(ctx), err):
		e.complain(err.Error())
		return exitFailed
	case status != exitDone:
		return status
	}
	return ended(ctx)
}

// feed sends the samples until the context ends.
func (s *stack) feed(ctx context.Context, rate float64) error {
	if rate == 0 {
		<-ctx.Done()
		return nil
	}
	out := newSender(sampleTopic, s.brokers())
	defer out.close()
	samples := newStream("ev-", 0, 1)
	err := pace(ctx, rate, 0, func() error { return out.send(ctx, samples.next()...) })
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// ownEvent is a shell text for an event about the member that no sample changes.
const ownEvent = `{"eventId":"me-'$(date +%H%M%S)'","sequence":'$(date +%s)',"employeeId":"E0009","openUserId":"FSUID_TEST0009",` +
	`"before":{"qq":"1"},"after":{"qq":"1","position":"Sample Boss","email":"boss@sample.invalid"}}`

// guide prints where everything listens and what to try.
func (s *stack) guide(w io.Writer, mapping string) {
	event, settings := ownEvent, s.settings()
	if mapping != canonical {
		event, settings = "…", append(settings, "MEMBERSYNC_MAPPING="+mapping)
	}
	say(w, `membersync with everything that it needs in this process. All people are made up. Ctrl-C ends it.

  Kafka     %-22[1]s  topic %[2]s, %[3]d partitions; dead letters in %[2]s.dlq
  Redis     %-22[4]s  in memory
  fake CRM  http://%-15[5]s  its members now: http://%[5]s/_fake/members
  admin     http://%-15[6]s  /readyz, /livez, /metrics

Send an event of your own (of %[7]s, whom no sample is about; departments 1 to %[8]d exist):
  echo '%[9]s|%[10]s' | kcat -P -b %[1]s -t %[2]s -K '|'
Look at the dead letters:
  kcat -C -e -q -b %[1]s -t %[2]s.dlq -f '%%p:%%o  %%h\n  %%s\n'
Ask membersync, in another terminal:
  export %[11]s
  go run ./cmd/membersync check
  echo '%[10]s' | go run ./cmd/membersync map -

What happens to each event (a record is named partition:offset):
time      record event     what        details
`, s.brokers(), sampleTopic, partitions, s.redis.Addr(), s.crm.addr, s.admin.Addr(), member(samplePeople), departments,
		employee(samplePeople), event, strings.Join(settings, " "))
}
