package crmapi

import (
	"context"
	"net/http"
	"time"
)

// A fetcher requests tokens from the CRM.
type fetcher struct {
	cfg    TokenConfig
	client *http.Client
}

// fetch makes one request. If there is a Locker, no other instance fetches at the same time.
func (f fetcher) fetch(ctx context.Context) (issuedToken, *Error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.cfg.Timeout, ErrTimeout)
	defer cancel()
	if f.cfg.Lock != nil {
		unlock, err := f.cfg.Lock.Lock(ctx)
		if err != nil {
			return issuedToken{}, &Error{Class: ClassTransient, op: "token", detail: detailNotSent, causes: []error{err}}
		}
		defer unlock()
	}
	return f.request(ctx)
}

func (f fetcher) request(ctx context.Context) (issuedToken, *Error) {
	requestedAt := time.Now() // before the request: the token must not expire later here than at the vendor
	body, failed := exchange{
		client: f.client,
		table:  f.cfg.Codes,
		op:     "token",
		url:    f.cfg.BaseURL.JoinPath(IssuePath).String(),
		body:   f.body(),
	}.do(ctx)
	if failed != nil {
		return issuedToken{}, failed.asFetchError()
	}
	token, lifetime := body.text("corpAccessToken"), body.seconds("expiresIn")
	if corp := body.text("corpId"); f.cfg.CorpID != "" && corp != "" && corp != f.cfg.CorpID {
		return issuedToken{}, &Error{Class: ClassRefused, Status: http.StatusOK, op: "token", detail: detailOtherCorp}
	}
	if token == "" || lifetime <= 0 {
		return issuedToken{}, &Error{Class: ClassTransient, Status: http.StatusOK, op: "token", detail: detailNoToken}
	}
	return newIssuedToken(token, requestedAt, lifetime), nil
}

func (f fetcher) body() []byte {
	appSecret, permanentCode := f.cfg.AppSecret, f.cfg.PermanentCode
	if f.cfg.Secrets != nil {
		appSecret, permanentCode = f.cfg.Secrets()
	}
	b := appendString([]byte(`{"appId":`), f.cfg.AppID)
	b = appendString(append(b, `,"appSecret":`...), appSecret)
	b = appendString(append(b, `,"permanentCode":`...), permanentCode)
	return append(b, '}')
}

// asFetchError turns e into the error of a token fetch, and returns it. For the update, a fetch is
// a call that was not sent. A fetch can be repeated, whatever its outcome. A response that rejects
// an update for good means wrong configuration here.
func (e *Error) asFetchError() *Error {
	e.Sent, e.OutcomeUnknown, e.Reason = false, false, ""
	if e.Class == ClassUnacknowledged {
		e.Class = ClassTransient
	}
	if e.Class == ClassPoison || e.Class == ClassToken {
		e.Class = ClassRefused
	}
	return e
}
