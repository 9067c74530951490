package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v4"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

var (
	errTimeout = errors.New("otlp: the collector did not answer in time")
	errClosed  = errors.New("otlp: closed")
)

// A StatusError is an answer of the collector that is no success.
type StatusError struct{ Status int }

// Error names the status.
func (e *StatusError) Error() string { return fmt.Sprintf("the collector answered HTTP %d", e.Status) }

// An uploader implements [otlptrace.Client].
type uploader struct {
	client  *http.Client
	url     string
	headers [][2]string
	gzip    bool
	timeout time.Duration
	// onClose calls a function when the uploader is closed, unless stop was called before.
	onClose func(func()) (stop func() bool)
	close   context.CancelCauseFunc
}

// newUploader returns an uploader. It makes no connection. The problem names the first variable
// that is invalid.
func newUploader(
	ctx context.Context, v variables, readFile func(string) ([]byte, error),
) (u *uploader, problem string) {
	endpoint, problem := v.endpoint()
	if problem != "" {
		return nil, problem
	}
	u = &uploader{url: endpoint.String()}
	if u.headers, problem = v.headers(); problem != "" {
		return nil, problem
	}
	if u.timeout, problem = v.timeout(); problem != "" {
		return nil, problem
	}
	if u.gzip, problem = v.gzip(); problem != "" {
		return nil, problem
	}
	encryption, problem := v.tls(readFile)
	if problem != "" {
		return nil, problem
	}
	u.client = &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: encryption, TLSHandshakeTimeout: u.timeout,
			IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 1,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	closing, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	u.onClose, u.close = func(f func()) func() bool { return context.AfterFunc(closing, f) }, cancel
	return u, ""
}

// tls returns the configuration of the files that the variables name; nil: the system's.
func (v variables) tls(readFile func(string) ([]byte, error)) (c *tls.Config, problem string) {
	c = &tls.Config{MinVersion: tls.VersionTLS12}
	if path, name := v.of("CERTIFICATE"); path != "" {
		text, err := readFile(path)
		c.RootCAs = x509.NewCertPool()
		if err != nil || !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, name + " should be the path of a PEM file"
		}
	}
	certPath, name := v.of("CLIENT_CERTIFICATE")
	keyPath, _ := v.of("CLIENT_KEY")
	if certPath == "" && keyPath == "" {
		return c, ""
	}
	cert, certErr := readFile(certPath)
	key, keyErr := readFile(keyPath)
	pair, err := tls.X509KeyPair(cert, key)
	if certErr != nil || keyErr != nil || err != nil {
		return nil, name + " should be the path of a PEM file, and the variable of its CLIENT_KEY that of its key"
	}
	c.Certificates = []tls.Certificate{pair}
	return c, ""
}

// Start implements [otlptrace.Client].
func (u *uploader) Start(context.Context) error { return nil }

// Stop implements [otlptrace.Client].
func (u *uploader) Stop(context.Context) error {
	u.close(errClosed)
	u.client.CloseIdleConnections()
	return nil
}

// firstRetry is the wait before the second attempt of an upload.
const firstRetry = 200 * time.Millisecond

// UploadTraces implements [otlptrace.Client]. It tries again, within the timeout, if the collector
// says that it may.
func (u *uploader) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans}) // the encoding of ExportTraceServiceRequest
	if err != nil {
		return fmt.Errorf("otlp: encoding spans: %w", err)
	}
	if u.gzip {
		body = compressed(body)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, u.timeout, errTimeout)
	defer cancel()
	defer u.onClose(cancel)()
	waits := backoff.NewExponentialBackOff(backoff.WithInitialInterval(firstRetry), backoff.WithMaxElapsedTime(0))
	return backoff.Retry(func() error {
		err := u.post(ctx, body)
		if answer, ok := errors.AsType[*StatusError](err); ok && mayRetry(answer.Status) {
			return err
		}
		if err != nil {
			return backoff.Permanent(err)
		}
		return nil
	}, backoff.WithContext(waits, ctx))
}

func mayRetry(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

func (u *uploader) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for _, h := range u.headers {
		req.Header.Set(h[0], h[1])
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", "membersync")
	if u.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	response, err := u.client.Do(req)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok { // without the URL, which may hold a secret
			err = inner.Err
		}
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection is used again
	if response.StatusCode/100 != 2 {
		return &StatusError{response.StatusCode}
	}
	return nil
}

func compressed(body []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(body) // a buffer takes all
	_ = w.Close()
	return out.Bytes()
}
