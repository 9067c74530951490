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

// An op is an operation of a service on a real part. A test can let it fail before or after its
// effect.
type op string

const (
	opAcquire    op = "acquire"
	opComplete   op = "complete"
	opRenew      op = "renew"
	opRelease    op = "release"
	opModify     op = "modify"
	opDeadLetter op = "dead letter"
)

// A tap is between a service and its parts. It calls at before each operation and, if that
// succeeded, after it. The service gets the error that at returns. Before the operation, an error
// also prevents it.
type tap struct{ at func(o op, after bool) error }

// install puts the tap between the service and its store, CRM and dead-letter writer.
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

func (s tappedStore) Renew(ctx context.Context, m dedupe.Member, t dedupe.Token) (leased bool, err error) {
	err = s.tap.around(opRenew, func() error { leased, err = s.real.Renew(ctx, m, t); return err })
	return leased, err
}

func (s tappedStore) Release(ctx context.Context, m dedupe.Member, t dedupe.Token) error {
	return s.tap.around(opRelease, func() error { return s.real.Release(ctx, m, t) })
}

type tappedCRM struct {
	real consumer.CRM
	tap  tap
}

func (c tappedCRM) Modify(ctx context.Context, call crmapi.Call) (res crmapi.Response, err error) {
	err = c.tap.around(opModify, func() error { res, err = c.real.Modify(ctx, call); return err })
	return res, err
}

type tappedDeadLetters struct {
	real consumer.DeadLetterWriter
	tap  tap
}

func (d tappedDeadLetters) Write(ctx context.Context, deadLetter dlq.DeadLetter) error {
	return d.tap.around(opDeadLetter, func() error { return d.real.Write(ctx, deadLetter) })
}

// A counting counts operations, each before its effect. The zero value is ready to use.
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

// A withoutBounds is a transport that removes the log's bounds from a response with
// OffsetOutOfRange. A real broker leaves them out, kfake does not.
type withoutBounds struct{ real kafka.RoundTripper }

func (w withoutBounds) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	res, err := w.real.RoundTrip(ctx, addr, req)
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

// vagueAboutTheLog lets the broker leave out the log's bounds, as a real one does.
func vagueAboutTheLog(_ *consumer.Config, p *consumer.Parts) {
	c := *p.Kafka
	c.Transport = withoutBounds{c.Transport}
	p.Kafka = &c
}
