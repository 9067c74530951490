package crmapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// maxResponseBody bounds the body of a response, in bytes. The CRM's bodies have about 200 bytes.
const maxResponseBody = 64 << 10

// An exchange is one request and its response.
type exchange struct {
	client *http.Client
	table  Table
	op     string // for the error text
	url    string
	body   []byte
	sendBy time.Time
	inject func(context.Context, http.Header) // may be nil
}

// do sends the request once. It returns the body only if the response is a success.
func (x exchange) do(ctx context.Context) (responseBody, *Error) {
	began := time.Now()
	body, failed := x.attempt(ctx)
	if failed != nil {
		failed.op, failed.Duration = x.op, time.Since(began)
	}
	return body, failed
}

func (x exchange) attempt(ctx context.Context) (responseBody, *Error) {
	p := &payload{body: x.body, sendBy: x.sendBy}
	if ctx.Err() != nil {
		return nil, notSent(contextCauses(ctx)...)
	}
	if p.isLate() {
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
	case err != nil && state != payloadRead:
		return nil, notSent(networkCauses(ctx, err)...)
	case err != nil:
		return nil, unacknowledged(0, detailNoResponse, networkCauses(ctx, err))
	}
	return x.readResponse(ctx, resp)
}

func (x exchange) request(ctx context.Context, p *payload) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.url, p.open())
	if err != nil {
		return nil, err
	}
	req.ContentLength, req.GetBody = int64(len(x.body)), p.reopen
	req.Header = requestHeader
	if x.inject != nil {
		req.Header = requestHeader.Clone()
		x.inject(ctx, req.Header)
	}
	return req, nil
}

// requestHeader is that of all requests. Nothing changes it: a [http.RoundTripper] must not.
var requestHeader = http.Header{ //nolint:gochecknoglobals // a constant
	"Content-Type": {"application/json"}, "Accept": {"application/json"}, "User-Agent": {"membersync"},
}

// readResponse classifies a response. It reads the body to its end, so that the connection can be
// reused, unless the body is longer than any that the CRM sends.
func (x exchange) readResponse(ctx context.Context, resp *http.Response) (responseBody, *Error) {
	var data []byte
	var err error
	if resp.StatusCode >= 200 { // what follows a 101 is not a body and never ends
		data, err = readAll(io.LimitReader(resp.Body, maxResponseBody+1), resp.ContentLength)
	}
	if err != nil && needsBody(resp.StatusCode) {
		return nil, unacknowledged(resp.StatusCode, detailCutShort, networkCauses(ctx, err))
	}
	if err != nil || len(data) > maxResponseBody {
		data = nil
	}
	body := parseResponseBody(plainBody(data))
	code, hasCode := body.code()
	e := classify(x.table, resp.StatusCode, code, hasCode)
	if e.Class == ClassSuccess {
		return body, nil
	}
	e.TraceID = body.traceID()
	e.RetryAfter = retryAfter(resp.Header, time.Now())
	return nil, &e
}

// readAll is [io.ReadAll] of a body that has mostly the size that its header states, if it does.
func readAll(r io.Reader, stated int64) ([]byte, error) {
	size := int64(512)
	if stated >= 0 {
		size = min(stated, maxResponseBody) + 1 // the last read finds the end
	}
	b := bytes.NewBuffer(make([]byte, 0, size))
	for {
		n, err := r.Read(b.AvailableBuffer()[:b.Available()])
		b.Write(b.AvailableBuffer()[:n])
		switch {
		case errors.Is(err, io.EOF):
			return b.Bytes(), nil
		case err != nil:
			return b.Bytes(), err
		case b.Available() == 0:
			b.Grow(512)
		}
	}
}

// plainBody undoes what a proxy may do to a body without having been asked: compress it with gzip
// (RFC 1952), and begin it with a byte order mark. Read as it is, the body of a success would have
// no errorCode, and the call would be repeated. It returns nil for a body that is damaged, or too
// long when it is inflated.
func plainBody(data []byte) []byte {
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		r, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil
		}
		data, err = io.ReadAll(io.LimitReader(r, maxResponseBody+1))
		if err != nil || len(data) > maxResponseBody {
			return nil
		}
	}
	return bytes.TrimPrefix(data, []byte("\ufeff"))
}

// notSent returns the error of a request of which nothing left the process.
func notSent(causes ...error) *Error {
	return &Error{Class: ClassTransient, detail: detailNotSent, causes: causes}
}

// unacknowledged returns the error of a request that may have been sent, without a complete
// response.
func unacknowledged(status int, detail string, causes []error) *Error {
	return &Error{
		Class: ClassUnacknowledged, Status: status, Sent: true, OutcomeUnknown: true, detail: detail, causes: causes,
	}
}
