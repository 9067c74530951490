package crmapi

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrTooLate means that [Call].SendBy passed before the write. Nothing was sent.
	ErrTooLate = errors.New("crmapi: too late to send")
	// ErrTimeout is the cause if the time of one attempt ran out.
	ErrTimeout = errors.New("crmapi: no response in time")
	// ErrEmptyUpdate means that an update has no OpenUserID or no field. Such an update is never
	// sent.
	ErrEmptyUpdate = errors.New("crmapi: the update has no openUserId or no field")
	// ErrClosed is the cause if a token is requested from a closed source.
	ErrClosed = errors.New("crmapi: token source closed")

	errConnection = errors.New("crmapi: connection failed")
)

// What went wrong, in texts that contain nothing of the request or the response.
const (
	detailNoResponse = "no response"
	detailCutShort   = "response cut short"
	detailNotFromCRM = "response not from the CRM"
	detailNotSent    = "not sent"
	detailJustIssued = "the CRM refused a token that was just issued"
	detailFixed      = "the CRM refused the fixed token"
	detailNoToken    = "no usable token in the response"
	detailOtherCorp  = "the token belongs to another corpId"
	detailTooSoon    = "too soon after the last fetch"
)

// An Error describes a call that did not succeed. Its text contains no value of the update, no
// secret, and no text written by the CRM, because such a text may repeat a value or a secret.
//
// Sent and OutcomeUnknown refer to the update. So they are false if no token was available.
type Error struct {
	Class        Class
	Reason       Reason // set for poison, and for an unknown code in case it becomes final
	Status       int    // HTTP status; 0 if no response arrived
	Code         int    // errorCode; valid only if HasCode
	HasCode      bool
	Known        bool          // whether the table contains the code
	TraceID      string        // the CRM's ID of the request; empty if it sent none
	ThirdTraceID string        // our ID of the request; empty if none was sent
	RetryAfter   time.Duration // shortest wait before the next attempt; 0 means none

	// Sent is false only if provably nothing of the update left this process.
	Sent bool
	// OutcomeUnknown means that the CRM may have applied the update, or may still apply it.
	OutcomeUnknown bool
	// Duration is how long the call took.
	Duration time.Duration

	op     string
	detail string
	causes []error
}

// MemberNotFound reports whether the CRM does not know the member itself. Then no other update of
// this member can succeed either.
func (e *Error) MemberNotFound() bool {
	return e.Class == ClassPoison && e.HasCode && (e.Code == 20012 || e.Code == 30027)
}

// Error returns the class, the HTTP status, the error code and the trace IDs.
func (e *Error) Error() string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+value)
		}
	}
	add("", e.detail)
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

// Unwrap returns the causes: the cause of the context if it ended, or else the network's error.
func (e *Error) Unwrap() []error { return e.causes }

// contextCauses returns why a context ended: its cause, then its error.
func contextCauses(ctx context.Context) []error {
	return []error{context.Cause(ctx), ctx.Err()}
}

// networkCauses keeps only those parts of a net/http error whose text cannot contain anything of
// the request or the response. For example, net/http quotes malformed responses.
func networkCauses(ctx context.Context, err error) []error {
	if ctx.Err() != nil {
		return contextCauses(ctx)
	}
	if e, ok := errors.AsType[*proxyError](err); ok {
		return []error{e}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return []error{e}
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return []error{e}
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return []error{e}
	}
	for _, known := range []error{io.ErrUnexpectedEOF, io.EOF, io.ErrClosedPipe, net.ErrClosed, http.ErrSchemeMismatch} {
		if errors.Is(err, known) {
			return []error{known}
		}
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return []error{os.ErrDeadlineExceeded}
	}
	return []error{errConnection}
}

// A proxyError is the refusal of a proxy to connect to the CRM.
type proxyError struct{ status int }

// Error states the HTTP status.
func (e *proxyError) Error() string {
	return "crmapi: the proxy refuses to connect to the CRM: HTTP " + strconv.Itoa(e.status)
}
