package crmapi

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrTooLate means that [Call].SendBy had passed before the write: nothing was sent.
	ErrTooLate = errors.New("crmapi: too late to send")
	// ErrTimeout is the cause when the time of one attempt ran out.
	ErrTimeout = errors.New("crmapi: no answer in time")
	// ErrEmptyUpdate means that an update names no member or no field. Such a call is never made.
	ErrEmptyUpdate = errors.New("crmapi: an update of nobody or of nothing")
	// ErrClosed is the cause when a token is asked of a source that has been closed.
	ErrClosed = errors.New("crmapi: token source closed")

	errConnection = errors.New("crmapi: connection failed")
)

// What went wrong, in words that hold nothing of the request or the answer.
const (
	whatNoAnswer   = "no answer"
	whatCut        = "answer cut short"
	whatForeign    = "not an answer of the CRM"
	whatNotSent    = "not sent"
	whatJustIssued = "a token issued just now is refused"
	whatFixed      = "the fixed token is refused"
	whatNoToken    = "no usable token in the answer"
	whatCorp       = "the token belongs to another corpId"
	whatPause      = "fetched too recently"
)

// An Error is a call that did not succeed. Its text holds no value of the update, no secret and nothing
// that the CRM wrote in words, since that may echo either. Sent and OutcomeUnknown speak of the update, so
// they are false when no token could be had.
type Error struct {
	Class        Class
	Reason       Reason // of poison, and of an unknown code once it counts as final
	Status       int    // HTTP status; 0 if no answer came
	Code         int    // errorCode, if HasCode
	HasCode      bool
	Known        bool // the code is in the table
	TraceID      string
	ThirdTraceID string
	RetryAfter   time.Duration // asked for by the server; 0 if it did not

	// Sent is false only if provably nothing of the update left this process.
	Sent bool
	// OutcomeUnknown means that the CRM may have applied the update, or may do so yet.
	OutcomeUnknown bool
	// Duration is the time the call took.
	Duration time.Duration

	op     string
	what   string
	causes []error
}

// MemberNotFound reports whether the CRM does not know the member itself, so that no
// other update of this member can succeed either.
func (e *Error) MemberNotFound() bool {
	return e.Class == ClassPoison && e.HasCode && (e.Code == 20012 || e.Code == 30027)
}

// Error names class, status, error code and trace ids.
func (e *Error) Error() string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+value)
		}
	}
	add("", e.what)
	if e.Status != 0 {
		add("HTTP ", strconv.Itoa(e.Status))
	}
	if e.HasCode {
		add("errorCode ", strconv.Itoa(e.Code))
	}
	add("traceId ", e.TraceID)
	add("thirdTraceId ", e.ThirdTraceID)
	text := "crmapi: " + e.op + ": " + e.Class.String()
	if len(parts) == 0 {
		return text
	}
	return text + ": " + strings.Join(parts, ", ")
}

// Unwrap returns the causes: that of the context, if it ended, or the network's error.
func (e *Error) Unwrap() []error { return e.causes }

// endedContext returns what a context ended by says: its cause first.
func endedContext(ctx context.Context) []error {
	return []error{context.Cause(ctx), ctx.Err()}
}

// networkCauses keeps of an error of net/http only parts whose text cannot hold anything
// of request or answer. net/http quotes malformed answers, for one.
func networkCauses(ctx context.Context, err error) []error {
	if ctx.Err() != nil {
		return endedContext(ctx)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return []error{e}
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return []error{e}
	}
	for _, known := range []error{io.ErrUnexpectedEOF, io.EOF, io.ErrClosedPipe, net.ErrClosed} {
		if errors.Is(err, known) {
			return []error{known}
		}
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return []error{os.ErrDeadlineExceeded}
	}
	return []error{errConnection}
}
