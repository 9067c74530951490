package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

const (
	scriptLimit = time.Minute
	lagPoll     = 50 * time.Millisecond
)

var (
	errScriptLimit  = errors.New("the script did not end within a minute")
	errServiceEnded = errors.New("the service ended by itself")
	errDone         = errors.New("done")
)

// runOnce plays the script and compares the result with the expected one.
func runOnce(ctx context.Context, a *arguments, e env, script []act, want map[string]string) int {
	a.mapping = canonical // the script's events are
	s, err := startStack(ctx, ports{}, 0, a.crmAPI)
	if err != nil {
		e.complain(err.Error())
		return exitUsage
	}
	defer s.close()
	say(e.stdout, "membersync, Kafka, Redis and a fake CRM in this process. All people are made up.\n\n")
	legend(e.stdout)
	limited, cancel := context.WithTimeoutCause(ctx, scriptLimit, errScriptLimit)
	defer cancel()
	watch := newAccount(e.stdout, s.object(), a.verbose)
	var differences []string
	status, err := s.with(limited, a, e, watch, func(ctx context.Context) error {
		if err := s.play(ctx, watch, script); err != nil {
			return err
		}
		differences, err = s.differences(ctx, script, want)
		return err
	})
	watch.summary()
	switch {
	case status != exitDone:
		return status
	case ctx.Err() != nil:
		return ended(ctx)
	case err != nil:
		e.complain(err.Error())
		return exitFailed
	}
	return printResult(e.stdout, differences, len(want))
}

// with runs the service while do runs. An error of do has precedence over the service's status.
func (s *stack) with(ctx context.Context, a *arguments, e env, watch consumer.Observer, do func(context.Context) error) (status int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	result := make(chan int, 1)
	go func() {
		status := s.runService(ctx, a, e, watch)
		cancel(errServiceEnded)
		result <- status
	}()
	err = do(ctx)
	cancel(errDone)
	return <-result, err
}

func printResult(w io.Writer, differences []string, members int) int {
	if len(differences) == 0 {
		say(w, "\nAs expected: all %d members in the CRM, and every dead letter, byte for byte.\n", members)
		say(w, "\nTo try it by hand: go run ./cmd/devstack\n")
		return exitDone
	}
	say(w, "\nNOT as expected:\n")
	for _, d := range differences {
		say(w, "  %s\n", d)
	}
	return exitFailed
}

// play sends one act after the other, and waits until all is committed.
func (s *stack) play(ctx context.Context, watch *account, script []act) error {
	out := newSender(sampleTopic, s.brokers())
	defer out.close()
	var all []string
	for _, act := range script {
		watch.title(act.title)
		s.crm.Push(act.faults...)
		if err := s.perform(ctx, watch, out, act); err != nil {
			return err
		}
		all = append(all, notes(act.rows)...)
	}
	if err := watch.wait(ctx, endings, all); err != nil {
		return err
	}
	return s.settle(ctx)
}

func (s *stack) perform(ctx context.Context, watch *account, out *sender, act act) error {
	switch {
	case act.oneByOne:
		for _, r := range act.rows {
			if err := errors.Join(out.send(ctx, r.message), watch.wait(ctx, endings, []string{r.note})); err != nil {
				return err
			}
		}
		return nil
	case act.behind:
		s.crm.Block(crmapitest.BeforeEffect)
		err := s.queueUp(ctx, watch, out, act.rows)
		s.crm.Release()
		if err != nil {
			return err
		}
	default:
		if err := out.send(ctx, messages(act.rows)...); err != nil {
			return err
		}
	}
	if act.goesOn {
		return watch.wait(ctx, arrivals, notes(act.rows))
	}
	return watch.wait(ctx, endings, notes(act.rows))
}

// queueUp makes all rows arrive while the call of the first is open.
func (s *stack) queueUp(ctx context.Context, watch *account, out *sender, rows []row) error {
	if err := out.send(ctx, rows[0].message); err != nil {
		return err
	}
	underWay := func(crmapitest.Stats) bool { return s.crm.calledFor(string(rows[0].key)) }
	if err := s.crm.Wait(ctx, underWay); err != nil {
		return err
	}
	return errors.Join(out.send(ctx, messages(rows[1:])...), watch.wait(ctx, arrivals, notes(rows)))
}

// settle waits until the group's lag is 0.
func (s *stack) settle(ctx context.Context) error {
	client := newKafka(s.brokers())
	defer client.close()
	tick := time.NewTicker(lagPoll)
	defer tick.Stop()
	for {
		lag, err := client.lag(ctx, sampleTopic, group, partitions)
		if err == nil && lag == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the group's lag is %d: %w", lag, context.Cause(ctx)), err)
		}
	}
}

func notes(rows []row) []string {
	all := make([]string, len(rows))
	for i, r := range rows {
		all[i] = r.note
	}
	return all
}

func messages(rows []row) []message {
	all := make([]message, len(rows))
	for i, r := range rows {
		all[i] = r.message
	}
	return all
}

// differences lists what differs from the expected state in the CRM and in the dead-letter topic.
func (s *stack) differences(ctx context.Context, script []act, want map[string]string) ([]string, error) {
	client := newKafka(s.brokers())
	defer client.close()
	deadLetters, err := client.deadLetters(ctx, sampleTopic+".dlq", partitions)
	if err != nil {
		return nil, err
	}
	return append(s.memberDifferences(want), deadLetterDifferences(script, deadLetters)...), nil
}

func (s *stack) memberDifferences(want map[string]string) (found []string) {
	for _, id := range slices.Sorted(maps.Keys(want)) {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(want[id]), &fields); err != nil {
			return append(found, id+": the expectation is not JSON: "+err.Error())
		}
		found = append(found, fieldDifferences(id, fields, s.crm.State(id))...)
	}
	for _, id := range s.crm.Members() {
		if _, ok := want[id]; !ok {
			found = append(found, id+" is an unexpected member")
		}
	}
	return found
}

func fieldDifferences(id string, want, got map[string]json.RawMessage) (found []string) {
	names := slices.Concat(slices.Collect(maps.Keys(want)), slices.Collect(maps.Keys(got)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !bytes.Equal(want[name], got[name]) {
			found = append(found, fmt.Sprintf("%s.%s is %s, should be %s", id, name, orNothing(got[name]), orNothing(want[name])))
		}
	}
	return found
}

func orNothing(value json.RawMessage) string {
	if value == nil {
		return "not set"
	}
	return string(value)
}

func deadLetterDifferences(script []act, deadLetters []dlq.DeadLetter) (found []string) {
	left := slices.Clone(deadLetters)
	for _, act := range script {
		for _, r := range act.rows {
			if r.reason == "" {
				continue
			}
			i := slices.IndexFunc(left, func(l dlq.DeadLetter) bool {
				if r.reason == dlq.ReasonOversized { // the record was not read: its dead letter has only the place
					return l.Reason == r.reason && l.Key == nil && l.Value == nil
				}
				return l.Reason == r.reason && bytes.Equal(l.Key, r.key) && bytes.Equal(l.Value, r.value) && (l.Value == nil) == (r.value == nil)
			})
			if i < 0 {
				found = append(found, fmt.Sprintf("no dead letter %s for %q", r.reason, r.note))
				continue
			}
			left = slices.Delete(left, i, i+1)
		}
	}
	for _, l := range left {
		found = append(found, strings.TrimSpace(fmt.Sprintf("unexpected dead letter %s (%s)", l.ID(), l.Reason)))
	}
	return found
}
