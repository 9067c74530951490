package crmapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultPath is the path of the Modify Member API.
const DefaultPath = "/cgi/crm/v2/data/update"

// A Config says how to reach the CRM.
type Config struct {
	// BaseURL is the CRM's scheme and host, and a path prefix if there is one. Required.
	BaseURL *url.URL
	// Path of the API under BaseURL; empty is [DefaultPath].
	Path string
	// Object, if set, has updates sent to the object API, in its own form. It must have a name for every field of every
	// update. Nil is the user object.
	Object *Object
	// CorpID is the company on the open platform. Required.
	CorpID string
	// Timeout bounds one call of Modify, waiting for a token and the sending again after its
	// renewal included; 0 is 10 s.
	Timeout time.Duration
	// Token supplies the access token. Required.
	Token TokenSource
	// HTTP sends the requests; nil is a client of its own. Redirects are never followed.
	HTTP *http.Client
	// Codes are rows on top of the published error table.
	Codes Table
	// MaxConns is the number of connections kept for reuse, at best that of the calls in flight;
	// 0 is 64. It has no effect on an HTTP that was handed in.
	MaxConns int
}

func (c Config) validate() error {
	faults := []error{validBase(c.BaseURL)}
	if c.CorpID == "" {
		faults = append(faults, errors.New("crmapi: CorpID is required"))
	}
	if c.Path != "" && (!strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, "?#")) {
		faults = append(faults, errors.New("crmapi: Path must begin with a slash and have no query"))
	}
	if c.Token == nil {
		faults = append(faults, errors.New("crmapi: Token is required"))
	}
	if c.Timeout < 0 || c.MaxConns < 0 {
		faults = append(faults, errors.New("crmapi: Timeout and MaxConns must not be negative"))
	}
	return errors.Join(faults...)
}

// validBase does not quote the URL, which may hold a password.
func validBase(u *url.URL) error {
	switch {
	case u == nil:
		return errors.New("crmapi: BaseURL is required")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.Opaque != "":
		return errors.New("crmapi: BaseURL must be http:// or https:// and a host")
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return errors.New("crmapi: BaseURL must have no user, query or fragment")
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
}

// New returns a client. All faults of the configuration are reported at once.
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
		http:    httpClient(cfg.HTTP, cmp.Or(cfg.MaxConns, 64)),
		codes:   cfg.Codes,
	}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// String hides the client's parts, the token among them.
func (*Client) String() string { return "crmapi.Client" }

// GoString hides the client's parts, the token among them.
func (c *Client) GoString() string { return c.String() }

// A Call is one update to send.
type Call struct {
	Update Update
	// SendBy is the time from which on nothing may be sent any more; zero is none. It is looked at
	// immediately before the write, after the token and a connection were waited for.
	SendBy time.Time
	// BeforeResend, if set, is asked before the update goes out a second time, with a renewed token; its
	// error ends the call. The second request counts against the vendor's limit like the first.
	BeforeResend func(context.Context) error
}

// An Response is a call that succeeded.
type Response struct {
	TraceID      string // the CRM's
	ThirdTraceID string // ours, fresh for each request
	Duration     time.Duration
}

// Modify makes one attempt to apply an update. If the CRM says that the token has expired, it is
// renewed and the update sent once more. Every error but [ErrEmptyUpdate] is an [*Error].
func (c *Client) Modify(ctx context.Context, call Call) (Response, error) {
	if call.Update.OpenUserID == "" || call.Update.Len() == 0 {
		return Response{}, ErrEmptyUpdate
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, ErrTimeout)
	defer cancel()
	token, err := c.token.Token(ctx)
	if err != nil {
		return Response{}, withoutToken(err)
	}
	answer, failed := c.send(ctx, call, token)
	if failed != nil && failed.Class == ClassToken {
		answer, failed = c.resend(ctx, call, token, failed)
	}
	if failed != nil {
		return Response{}, failed
	}
	return answer, nil
}

// resend renews the token that the CRM refused and sends once more.
func (c *Client) resend(ctx context.Context, call Call, stale string, refused *Error) (Response, *Error) {
	token, err := c.token.Refresh(ctx, stale)
	if err != nil {
		return Response{}, refused.unrenewed(err)
	}
	if token == stale {
		refused.Class, refused.what = ClassRefused, whatJustIssued
		return Response{}, refused
	}
	if call.BeforeResend != nil {
		if err := call.BeforeResend(ctx); err != nil {
			return Response{}, refused.unrenewed(err)
		}
	}
	answer, failed := c.send(ctx, call, token)
	if failed != nil && failed.Class == ClassToken {
		failed.Class, failed.what = ClassRefused, whatJustIssued
	}
	return answer, failed
}

func (c *Client) send(ctx context.Context, call Call, token string) (Response, *Error) {
	third, began := rand.Text(), time.Now()
	answer, failed := exchange{
		client: c.http,
		table:  c.codes,
		op:     "update",
		url:    c.url + "?thirdTraceId=" + third,
		body:   c.body(call.Update, token),
		sendBy: call.SendBy,
	}.do(ctx)
	if failed != nil {
		failed.ThirdTraceID = third
		return Response{}, failed
	}
	return Response{TraceID: answer.traceID(), ThirdTraceID: third, Duration: time.Since(began)}, nil
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

// httpClient returns a client that follows no redirect: one would carry the token to another host.
func httpClient(given *http.Client, conns int) *http.Client {
	var c http.Client
	if given != nil {
		c = *given
	} else {
		c.Transport = newTransport(conns)
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// newTransport keeps a connection for each call in flight. HTTP/2 is off: with it, one lost connection
// would leave all calls in flight unanswered.
func newTransport(conns int) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		Protocols:           protocols,
		MaxIdleConns:        conns,
		MaxIdleConnsPerHost: conns,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
		DisableCompression:  true,
	}
}
