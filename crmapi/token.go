package crmapi

import (
	"context"
	"errors"
	"log/slog"
)

// A TokenSource supplies the company's access token. It must be safe for concurrent use.
type TokenSource interface {
	// Token returns a token that is expected to work.
	Token(ctx context.Context) (string, error)
	// Refresh returns a token other than stale, which the CRM has just refused.
	Refresh(ctx context.Context, stale string) (string, error)
}

// A FixedToken is a token that is never renewed. Printing or logging it shows a mask.
type FixedToken string

// Token returns the token.
func (t FixedToken) Token(context.Context) (string, error) { return string(t), nil }

// Refresh always fails: only the operator can replace a fixed token.
func (FixedToken) Refresh(context.Context, string) (string, error) {
	return "", &Error{Class: ClassRefused, op: "token", detail: detailFixed}
}

// String masks the token.
func (FixedToken) String() string { return mask }

// GoString masks the token.
func (FixedToken) GoString() string { return mask }

// MarshalText masks the token.
func (FixedToken) MarshalText() ([]byte, error) { return []byte(mask), nil }

// LogValue masks the token.
func (FixedToken) LogValue() slog.Value { return slog.StringValue(mask) }

// A ReplaceableToken is a token that is never renewed, but that the operator replaces: the function
// returns the current one. It must be safe for concurrent use.
type ReplaceableToken func() string

// Token returns the current token.
func (t ReplaceableToken) Token(context.Context) (string, error) { return t(), nil }

// Refresh returns the current token if stale has been replaced. Otherwise it fails like that of a
// [FixedToken].
func (t ReplaceableToken) Refresh(ctx context.Context, stale string) (string, error) {
	if current := t(); current != stale {
		return current, nil
	}
	return FixedToken(stale).Refresh(ctx, stale)
}

const mask = "***"

// noTokenError returns the error of a call for which no token was available: the update was not
// sent.
func noTokenError(err error) *Error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return &Error{Class: ClassTransient, op: "token", detail: detailNotSent, causes: []error{err}}
	}
	own := *e
	own.Sent, own.OutcomeUnknown = false, false
	return &own
}

// withRenewalError adds to e, the error of a call whose token the CRM refused, why the call was not
// repeated: the renewal failed, or the caller did not allow the resend. It returns e.
func (e *Error) withRenewalError(err error) *Error {
	e.causes = []error{err}
	why, ok := errors.AsType[*Error](err)
	if !ok {
		return e
	}
	e.detail, e.RetryAfter = why.detail, max(e.RetryAfter, why.RetryAfter)
	if why.Class == ClassRefused || why.Class == ClassThrottled || why.Class == ClassQuota {
		e.Class = why.Class
	}
	return e
}
