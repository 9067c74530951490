package crmapi

import (
	"context"
	"net/http"
	"time"
)

// A fetcher asks the CRM for a token.
type fetcher struct {
	cfg    TokenConfig
	client *http.Client
}

// fetch asks once, alone among all instances if there is a lock for that.
func (f fetcher) fetch(ctx context.Context) (issued, *Error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.cfg.Timeout, ErrTimeout)
	defer cancel()
	if f.cfg.Lock != nil {
		unlock, err := f.cfg.Lock.Lock(ctx)
		if err != nil {
			return issued{}, &Error{Class: ClassTransient, op: "token", what: whatNotSent, causes: []error{err}}
		}
		defer unlock()
	}
	return f.ask(ctx)
}

func (f fetcher) ask(ctx context.Context) (issued, *Error) {
	asked := time.Now() // before the answer: rather too early than too late
	answer, failed := exchange{
		client: f.client,
		table:  f.cfg.Codes,
		op:     "token",
		url:    f.cfg.BaseURL.JoinPath(IssuePath).String(),
		body:   f.body(),
	}.do(ctx)
	if failed != nil {
		return issued{}, failed.ofToken()
	}
	token, life := answer.text("corpAccessToken"), answer.seconds("expiresIn")
	if corp := answer.text("corpId"); f.cfg.CorpID != "" && corp != "" && corp != f.cfg.CorpID {
		return issued{}, &Error{Class: ClassRefused, Status: http.StatusOK, op: "token", what: whatCorp}
	}
	if token == "" || life <= 0 {
		return issued{}, &Error{Class: ClassTransient, Status: http.StatusOK, op: "token", what: whatNoToken}
	}
	return newIssued(token, asked, life), nil
}

func (f fetcher) body() []byte {
	b := appendString([]byte(`{"appId":`), f.cfg.AppID)
	b = appendString(append(b, `,"appSecret":`...), f.cfg.AppSecret)
	b = appendString(append(b, `,"permanentCode":`...), f.cfg.PermanentCode)
	return append(b, '}')
}

// ofToken makes the error of a fetch one of a call that was not sent. A fetch can be repeated, whatever
// became of it, and what would condemn an update here condemns the configuration.
func (e *Error) ofToken() *Error {
	e.Sent, e.OutcomeUnknown, e.Reason = false, false, ""
	if e.Class == ClassUnacknowledged {
		e.Class = ClassTransient
	}
	if e.Class == ClassPoison || e.Class == ClassToken {
		e.Class = ClassRefused
	}
	return e
}
