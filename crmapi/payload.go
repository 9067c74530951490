package crmapi

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

var errSealed = errors.New("crmapi: the call ended before the request was sent")

// A payload is the body of one request, and the proof whether any part of it was sent: the
// transport cannot send what it has not read.
//
// The transport's own goroutine may start to read the body after Do has returned. Then it finds the
// payload sealed and can read nothing. httptrace cannot detect that case.
type payload struct {
	body   []byte
	sendBy time.Time    // the zero value means no limit
	state  atomic.Int32 // one of the constants below
}

const (
	payloadUnread int32 = iota // the transport has not read the body yet
	payloadRead                // the transport has read at least a part: the request counts as sent
	payloadLate                // reading was refused because SendBy had passed
	payloadSealed              // reading is refused because the call is over
)

// isLate reports whether nothing may be sent anymore because SendBy has passed.
func (p *payload) isLate() bool {
	return !p.sendBy.IsZero() && !time.Now().Before(p.sendBy)
}

// allowRead allows the first read of the body, or returns the error with which that read fails.
func (p *payload) allowRead() error {
	if p.isLate() {
		p.state.CompareAndSwap(payloadUnread, payloadLate)
		return ErrTooLate
	}
	if p.state.CompareAndSwap(payloadUnread, payloadRead) || p.state.Load() == payloadRead {
		return nil
	}
	return errSealed
}

// seal prevents all later first reads. It returns the final state.
func (p *payload) seal() int32 {
	p.state.CompareAndSwap(payloadUnread, payloadSealed)
	return p.state.Load()
}

func (p *payload) open() io.ReadCloser {
	return &payloadReader{payload: p, rest: bytes.NewReader(p.body)}
}

// reopen returns the body for another connection. The transport calls it if its first, idle
// connection turned out to be closed before a byte was written.
func (p *payload) reopen() (io.ReadCloser, error) {
	if p.isLate() {
		p.state.CompareAndSwap(payloadUnread, payloadLate)
		return nil, ErrTooLate
	}
	return p.open(), nil
}

type payloadReader struct {
	payload *payload
	rest    *bytes.Reader
	started bool
}

func (r *payloadReader) Read(b []byte) (int, error) {
	if !r.started {
		if err := r.payload.allowRead(); err != nil {
			return 0, err
		}
		r.started = true
	}
	return r.rest.Read(b)
}

func (*payloadReader) Close() error { return nil }
