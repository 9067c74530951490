package crmapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultPath is the path of the Modify Member API.
const DefaultPath = "/cgi/crm/v2/data/update"

// A Config sets how to reach the CRM.
type Config struct {
	// BaseURL is the CRM's scheme and host, with a path prefix if there is one. Required.
	BaseURL *url.URL
	// Path is the path of the API under BaseURL; empty means [DefaultPath].
	Path string
	// Object, if set, makes the client send updates to the object API, in the form that Object
	// describes. It must have a name for every field of every update. Nil means the user object.
	Object *Object
	// CorpID is the company on the open platform. Required.
	CorpID string
	// Timeout bounds one call of Modify as a whole: the wait for a token, and the resend after a
	// token renewal. 0 means 10 s.
	Timeout time.Duration
	// Token supplies the access token. Required.
	Token TokenSource
	// HTTP sends the requests; nil means a client of its own. Redirects are never followed.
	HTTP *http.Client
	// Codes are rows in addition to the published error table.
	Codes Table
	// MaxConns is the number of connections kept for reuse; 0 means 64. Best is the number of calls
	// in flight. It has no effect if HTTP is set.
	MaxConns int
	// TLS, if set, returns the TLS configuration for new connections. It is called for every
	// request and must be safe for concurrent use. As long as nothing has changed, it returns the
	// same pointer; for another one, new connections are opened. Nil means the system's
	// certificates and no client certificate. It has no effect if HTTP is set.
	TLS func() *tls.Config
	// Proxy is the URL of the proxy, with a user and a password if it wants them; nil means none.
	// The environment's HTTP_PROXY, HTTPS_PROXY and NO_PROXY are never used. It has no effect if
	// HTTP is set.
	Proxy *url.URL
	// Inject adds headers to the request of each update, such as those of a trace. Nil means none. It
	// must be safe for concurrent use, and must not change other headers.
	Inject func(context.Context, http.Header)
}

func (c Config) validate() error {
	faults := []error{validateBaseURL(c.BaseURL)}
	if c.CorpID == "" {
		faults = append(faults, errors.New("crmapi: CorpID is required"))
	}
	if c.Path != "" && (!strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, "?#")) {
		faults = append(faults, errors.New("crmapi: Path must begin with a slash and must not have a query or fragment"))
	}
	if c.Token == nil {
		faults = append(faults, errors.New("crmapi: Token is required"))
	}
	if c.Timeout < 0 || c.MaxConns < 0 {
		faults = append(faults, errors.New("crmapi: Timeout and MaxConns must not be negative"))
	}
	return errors.Join(faults...)
}

// validateBaseURL does not quote the URL in its errors, because the URL may contain a password.
func validateBaseURL(u *url.URL) error {
	switch {
	case u == nil:
		return errors.New("crmapi: BaseURL is required")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.Opaque != "":
		return errors.New("crmapi: BaseURL must be http:// or https:// followed by a host")
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return errors.New("crmapi: BaseURL must not have a user, query or fragment")
	}
	return nil
}

// A Client calls the Modify Member API. It is safe for concurrent use.
type Client struct {
	url     string
	corpID  string
	object  *Object
	timeout time.Duration
	token   TokenSource
	http    *http.Client
	codes   Table
	inject  func(context.Context, http.Header) // may be nil
}

// New returns a client. Its error reports all faults of the configuration at once.
func New(cfg Config) (*Client, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Client{
		url:     cfg.BaseURL.JoinPath(cmp.Or(cfg.Path, DefaultPath)).String(),
		corpID:  cfg.CorpID,
		object:  cfg.Object,
		timeout: cmp.Or(cfg.Timeout, 10*time.Second),
		token:   cfg.Token,
		http:    httpClient(cfg.HTTP, connections{cmp.Or(cfg.MaxConns, 64), cfg.TLS, cfg.Proxy}),
		codes:   cfg.Codes,
		inject:  cfg.Inject,
	}, nil
}

// ErrNotAPI reports that a response is not one of the API: it has no errorCode. Mostly the base URL
// or the path is wrong, or a proxy has responded.
var ErrNotAPI = errors.New("crmapi: the response is not the API's: it has no errorCode")

// Probe finds out whether the API responds at the configured address. It sends a request without a
// token, a company and a member, which can modify nothing, and which the API answers with an
// errorCode. An error is [ErrNotAPI], with the HTTP status, or wraps an [*Error] and says why there
// was no response.
func (c *Client) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, ErrTimeout)
	defer cancel()
	_, failed := exchange{client: c.http, table: c.codes, op: "probe", url: c.url, body: []byte("{}")}.do(ctx)
	switch {
	case failed == nil || failed.HasCode:
		return nil
	case failed.Status != 0:
		return fmt.Errorf("%w (HTTP %d)", ErrNotAPI, failed.Status)
	}
	return fmt.Errorf("%w: %w", failed, errors.Join(failed.causes[:min(len(failed.causes), 1)]...))
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// String hides the parts of the client, including the token.
func (*Client) String() string { return "crmapi.Client" }

// GoString hides the parts of the client, including the token.
func (c *Client) GoString() string { return c.String() }

// A Call is one update to send.
type Call struct {
	Update Update
	// SendBy is the time from which on nothing may be sent; the zero value means no limit. It is
	// checked immediately before the write, after the waits for the token and for a connection.
	SendBy time.Time
	// BeforeResend, if set, is called before the update is sent again with a renewed token. Its
	// error ends the call. The second request counts against the vendor's rate limit like the
	// first.
	BeforeResend func(context.Context) error
}

// A Response describes a call that succeeded.
type Response struct {
	TraceID      string // the CRM's ID of the request
	ThirdTraceID string // our ID, a new random value for each request
	Duration     time.Duration
}

// Modify makes one attempt to apply an update. If the CRM reports that the token has expired,
// Modify renews it and sends the update once more. Every error except [ErrEmptyUpdate] is an
// [*Error].
func (c *Client) Modify(ctx context.Context, call Call) (Response, error) {
	if call.Update.OpenUserID == "" || call.Update.Len() == 0 {
		return Response{}, ErrEmptyUpdate
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, ErrTimeout)
	defer cancel()
	token, err := c.token.Token(ctx)
	if err != nil {
		return Response{}, noTokenError(err)
	}
	response, failed := c.send(ctx, call, token)
	if failed != nil && failed.Class == ClassToken {
		response, failed = c.resend(ctx, call, token, failed)
	}
	if failed != nil {
		return Response{}, failed
	}
	return response, nil
}

// resend renews the token that the CRM refused and sends the update once more.
func (c *Client) resend(ctx context.Context, call Call, stale string, refused *Error) (Response, *Error) {
	token, err := c.token.Refresh(ctx, stale)
	if err != nil {
		return Response{}, refused.withRenewalError(err)
	}
	if token == stale {
		refused.Class, refused.detail = ClassRefused, detailJustIssued
		return Response{}, refused
	}
	if call.BeforeResend != nil {
		if err := call.BeforeResend(ctx); err != nil {
			return Response{}, refused.withRenewalError(err)
		}
	}
	response, failed := c.send(ctx, call, token)
	if failed != nil && failed.Class == ClassToken {
		failed.Class, failed.detail = ClassRefused, detailJustIssued
	}
	return response, failed
}

func (c *Client) send(ctx context.Context, call Call, token string) (Response, *Error) {
	thirdTraceID, began := rand.Text(), time.Now()
	body, failed := exchange{
		client: c.http,
		table:  c.codes,
		op:     "update",
		url:    c.url + "?thirdTraceId=" + thirdTraceID,
		body:   c.body(call.Update, token),
		sendBy: call.SendBy,
		inject: c.inject,
	}.do(ctx)
	if failed != nil {
		failed.ThirdTraceID = thirdTraceID
		return Response{}, failed
	}
	return Response{TraceID: body.traceID(), ThirdTraceID: thirdTraceID, Duration: time.Since(began)}, nil
}

func (c *Client) body(u Update, token string) []byte {
	b := appendString([]byte(`{"corpAccessToken":`), token)
	b = appendString(append(b, `,"corpId":`...), c.corpID)
	if c.object != nil {
		b = c.object.AppendJSON(append(b, `,"data":{"object_data":`...), u)
		return append(b, "}}"...)
	}
	b = u.AppendJSON(append(b, `,"user":`...))
	return append(b, '}')
}
