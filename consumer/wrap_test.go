package consumer_test

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"membersync/consumer"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
)

var errInjected = errors.New("injected by the test")

// An op is one operation of a service on a real part. Before and after it a test may let it fail.
type op string

const (
	opAcquire    op = "acquire"
	opComplete   op = "complete"
	opRenew      op = "renew"
	opRelease    op = "release"
	opModify     op = "modify"
	opDeadLetter op = "letter"
)

// A tap sits between the service and its parts. Each operation passes two points, before and after its effect, if it has one; an
// error of at is what the service sees there. Before the effect it also keeps it from happening.
type tap struct{ at func(o op, after bool) error }

func (t tap) install(_ *consumer.Config, p *consumer.Parts) {
	p.Store = tappedStore{p.Store, t}
	p.CRM = tappedCRM{p.CRM, t}
	p.DeadLetters = tappedDeadLetters{p.DeadLetters, t}
}

func (t tap) around(o op, do func() error) error {
	if err := t.at(o, false); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return t.at(o, true)
}

type tappedStore struct {
	real consumer.Store
	tap  tap
}

func (s tappedStore) Acquire(ctx context.Context, req dedupe.AcquireRequest) (g dedupe.Grant, err error) {
	err = s.tap.around(opAcquire, func() error { g, err = s.real.Acquire(ctx, req); return err })
	return g, err
}

func (s tappedStore) Complete(ctx context.Context, c dedupe.Completion) (late bool, err error) {
	err = s.tap.around(opComplete, func() error { late, err = s.real.Complete(ctx, c); return err })
	return late, err
}

func (s tappedStore) Renew(ctx context.Context, m dedupe.Member, t dedupe.Token) (held bool, err error) {
	err = s.tap.around(opRenew, func() error { held, err = s.real.Renew(ctx, m, t); return err })
	return held, err
}

func (s tappedStore) Release(ctx context.Context, m dedupe.Member, t dedupe.Token) error {
	return s.tap.around(opRelease, func() error { return s.real.Release(ctx, m, t) })
}

type tappedCRM struct {
	real consumer.CRM
	tap  tap
}

func (c tappedCRM) Modify(ctx context.Context, call crmapi.Call) (a crmapi.Response, err error) {
	err = c.tap.around(opModify, func() error { a, err = c.real.Modify(ctx, call); return err })
	return a, err
}

type tappedDeadLetters struct {
	real consumer.DeadLetterWriter
	tap  tap
}

func (l tappedDeadLetters) Write(ctx context.Context, letter dlq.DeadLetter) error {
	return l.tap.around(opDeadLetter, func() error { return l.real.Write(ctx, letter) })
}

// counting counts operations before their effect.
type counting struct {
	mu sync.Mutex
	n  map[op]int
}

func (c *counting) tap() tap {
	return tap{at: func(o op, after bool) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.n == nil {
			c.n = make(map[op]int)
		}
		if !after {
			c.n[o]++
		}
		return nil
	}}
}

func (c *counting) of(o op) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[o]
}

// vague leaves the log's bounds out of an OffsetOutOfRange, as a real broker does and kfake does not.
type vague struct{ real kafka.RoundTripper }

func (v vague) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	res, err := v.real.RoundTrip(ctx, addr, req)
	if f, ok := res.(*fetch.Response); ok {
		for i := range f.Topics {
			for j := range f.Topics[i].Partitions {
				if p := &f.Topics[i].Partitions[j]; p.ErrorCode == int16(kafka.OffsetOutOfRange) {
					p.LogStartOffset, p.HighWatermark = -1, -1
				}
			}
		}
	}
	return res, err
}

func vagueAboutTheLog(_ *consumer.Config, p *consumer.Parts) {
	c := *p.Kafka
	c.Transport = vague{c.Transport}
	p.Kafka = &c
}
