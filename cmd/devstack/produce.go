package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// produce is the command of that name. Its event ids and sequences continue those of an earlier
// run, since both begin with the time.
func produce(ctx context.Context, a *arguments, e env) int {
	if a.rate <= 0 || a.count < 0 {
		e.complain("--rate should be greater than 0, and --count not less")
		return exitUsage
	}
	out := newSender(a.topic, strings.Split(a.brokers, ",")...)
	defer out.close()
	now := time.Now()
	samples := newStream(fmt.Sprintf("hr-%d-", now.Unix()), int(now.UnixMilli()), uint64(now.UnixNano()))
	err := pace(ctx, a.rate, a.count, func() error {
		for _, m := range samples.next() {
			if err := out.send(ctx, m); err != nil {
				return err
			}
			say(e.stdout, "%s  sent  %s  [%s]\n", time.Now().Format(time.TimeOnly), excerpt(m.value), m.note)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		e.complain("topic " + a.topic + ": " + err.Error())
		return exitFailed
	}
	return ended(ctx)
}

// sendFile is the command send: the content of a file is the value of one record, whatever it is.
// An event's employee id becomes the key. Without --brokers, it goes to the stack whose settings
// the shell has.
func sendFile(ctx context.Context, a *arguments, e env) int {
	value, err := os.ReadFile(a.file)
	if a.file == "-" {
		value, err = io.ReadAll(e.stdin)
	}
	if err != nil {
		e.complain(err.Error())
		return exitFailed
	}
	var event struct{ EmployeeID string }
	_ = json.Unmarshal(value, &event) // of another form: no key
	m := message{note: "yours", value: value}
	if event.EmployeeID != "" {
		m.key = []byte(event.EmployeeID)
	}
	brokers := cmp.Or(a.brokers, e.variable(brokersVariable), address(defaultPorts().kafka))
	out := newSender(a.topic, strings.Split(brokers, ",")...)
	defer out.close()
	if err := out.send(ctx, m); err != nil {
		e.complain("topic " + a.topic + " at " + brokers + ": " + err.Error())
		return exitFailed
	}
	say(e.stdout, "sent %d bytes to %s at %s\n", len(value), a.topic, brokers)
	return exitDone
}

// pace runs a function at the rate, count times. 0: until the context ends or it fails.
func pace(ctx context.Context, rate float64, count int, do func() error) error {
	tick := time.NewTicker(max(time.Duration(float64(time.Second)/rate), time.Microsecond))
	defer tick.Stop()
	for n := 1; ; n++ {
		if err := do(); err != nil || n == count {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
