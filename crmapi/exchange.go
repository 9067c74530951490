package crmapi

import (
	"context"
	"io"
	"net/http"
	"time"
)

// maxAnswer bounds an answer's body. The CRM's are some 200 bytes.
const maxAnswer = 64 << 10

// An exchange is one request and its answer.
type exchange struct {
	client *http.Client
	table  Table
	op     string // for the error text
	url    string
	body   []byte
	sendBy time.Time
}

// do sends the request once. The answer is returned only if it is a success.
func (x exchange) do(ctx context.Context) (reply, *Error) {
	began := time.Now()
	answer, failed := x.try(ctx)
	if failed != nil {
		failed.op, failed.Duration = x.op, time.Since(began)
	}
	return answer, failed
}

func (x exchange) try(ctx context.Context) (reply, *Error) {
	p := &payload{body: x.body, sendBy: x.sendBy}
	if ctx.Err() != nil {
		return nil, notSent(endedContext(ctx)...)
	}
	if p.overdue() {
		return nil, notSent(ErrTooLate)
	}
	req, err := x.request(ctx, p)
	if err != nil {
		return nil, notSent(errConnection)
	}
	resp, err := x.client.Do(req)
	state := p.seal()
	if err == nil {
		defer func() { _ = resp.Body.Close() }()
	}
	switch {
	case state == payloadLate:
		return nil, notSent(ErrTooLate)
	case err != nil && state != payloadTaken:
		return nil, notSent(networkCauses(ctx, err)...)
	case err != nil:
		return nil, unanswered(0, whatNoAnswer, networkCauses(ctx, err))
	}
	return x.read(ctx, resp)
}

func (x exchange) request(ctx context.Context, p *payload) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.url, p.open())
	if err != nil {
		return nil, err
	}
	req.ContentLength, req.GetBody = int64(len(x.body)), p.reopen
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "membersync")
	return req, nil
}

// read judges an answer. It reads the body to its end, so that the connection can be used again, unless
// the body is longer than any of the CRM's.
func (x exchange) read(ctx context.Context, resp *http.Response) (reply, *Error) {
	var body []byte
	var err error
	if resp.StatusCode >= 200 { // what follows a 101 is no body and has no end
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	}
	if err != nil && needsBody(resp.StatusCode) {
		return nil, unanswered(resp.StatusCode, whatCut, networkCauses(ctx, err))
	}
	if err != nil || len(body) > maxAnswer {
		body = nil
	}
	answer := parseReply(body)
	code, hasCode := answer.code()
	e := judge(x.table, resp.StatusCode, code, hasCode)
	if e.Class == ClassSuccess {
		return answer, nil
	}
	e.TraceID = answer.traceID()
	e.RetryAfter = retryAfter(resp.Header, time.Now())
	return nil, &e
}

func notSent(causes ...error) *Error {
	return &Error{Class: ClassTransient, what: whatNotSent, causes: causes}
}

func unanswered(status int, what string, causes []error) *Error {
	return &Error{
		Class: ClassUnacknowledged, Status: status, Sent: true, OutcomeUnknown: true, what: what, causes: causes,
	}
}
