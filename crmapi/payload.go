package crmapi

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

var errSealed = errors.New("crmapi: request given up before it was sent")

// A payload is the body of one request, and the proof whether any of it was sent: the transport cannot
// send what it has not read. The transport's own goroutine may come to the body after Do has returned;
// then it finds the payload sealed. That closes a gap that httptrace leaves open.
type payload struct {
	body   []byte
	sendBy time.Time
	state  atomic.Int32
}

const (
	payloadFresh  int32 = iota // not looked at yet
	payloadTaken               // read at least in part: counts as sent
	payloadLate                // refused because SendBy had passed
	payloadSealed              // refused because the call is over
)

func (p *payload) overdue() bool {
	return !p.sendBy.IsZero() && !time.Now().Before(p.sendBy)
}

// take allows the first read, or says why not.
func (p *payload) take() error {
	if p.overdue() {
		p.state.CompareAndSwap(payloadFresh, payloadLate)
		return ErrTooLate
	}
	if p.state.CompareAndSwap(payloadFresh, payloadTaken) || p.state.Load() == payloadTaken {
		return nil
	}
	return errSealed
}

// seal ends the payload and returns what became of it.
func (p *payload) seal() int32 {
	p.state.CompareAndSwap(payloadFresh, payloadSealed)
	return p.state.Load()
}

func (p *payload) open() io.ReadCloser {
	return &payloadReader{payload: p, rest: bytes.NewReader(p.body)}
}

// reopen serves the transport when it takes another connection because the first, an idle one, turned
// out to be dead before a byte was written.
func (p *payload) reopen() (io.ReadCloser, error) {
	if p.overdue() {
		p.state.CompareAndSwap(payloadFresh, payloadLate)
		return nil, ErrTooLate
	}
	return p.open(), nil
}

type payloadReader struct {
	payload *payload
	rest    *bytes.Reader
	begun   bool
}

func (r *payloadReader) Read(b []byte) (int, error) {
	if !r.begun {
		if err := r.payload.take(); err != nil {
			return 0, err
		}
		r.begun = true
	}
	return r.rest.Read(b)
}

func (*payloadReader) Close() error { return nil }
