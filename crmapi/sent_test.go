package crmapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
)

// TestUnacknowledged: a request that may have been sent is never reported as not sent, whether or
// not it took effect.
func TestUnacknowledged(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault   crmapitest.Fault
		applied bool
		status  int
	}{
		"closed before the effect": {crmapitest.Fault{Close: true}, false, 0},
		"closed after the effect":  {crmapitest.Fault{Close: true, At: crmapitest.AfterEffect}, true, 0},
		"hangs before the effect":  {crmapitest.Fault{Hang: true}, false, 0},
		"hangs after the effect":   {crmapitest.Fault{Hang: true, At: crmapitest.AfterEffect}, true, 0},
		"response cut":             {crmapitest.Fault{Cut: true}, true, 200},
		"rejection cut":            {crmapitest.Fault{Cut: true, Status: 400, Code: 10001}, false, 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := crmapitest.New(options())
			client := newClient(t, loopback(t, fake), func(c *crmapi.Config) {
				if tt.fault.Hang {
					c.Timeout = 100 * time.Millisecond
				}
			})
			fake.Push(tt.fault)
			_, got := modify(t, client, crmapi.Call{Update: sample()})
			if got == nil || got.Class != crmapi.ClassUnacknowledged || !got.Sent || !got.OutcomeUnknown || got.Status != tt.status ||
				got.HasCode || got.ThirdTraceID == "" {
				t.Fatalf("%+v", got)
			}
			if applied := fake.State(member)["position"] != nil; applied != tt.applied {
				t.Errorf("applied: %v", applied)
			}
			if _, got := modify(t, client, crmapi.Call{Update: sample()}); got != nil {
				t.Errorf("sent again: %v", got)
			}
		})
	}
}

// TestStatusThatNeedsNoBody: a response that is cut short still throttles.
func TestStatusThatNeedsNoBody(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	client := newClient(t, loopback(t, fake))
	for status, want := range map[int]crmapi.Class{
		429: crmapi.ClassThrottled, 503: crmapi.ClassTransient, 302: crmapi.ClassRefused, 413: crmapi.ClassPoison,
	} {
		fake.Push(crmapitest.Fault{Cut: true, Status: status, Header: map[string]string{"Retry-After": "3"}})
		if _, got := modify(t, client, crmapi.Call{Update: sample()}); got == nil || got.Class != want || got.RetryAfter != 3*time.Second {
			t.Errorf("HTTP %d: %+v", status, got)
		}
	}
}

// TestSwitchingProtocols: what follows a 101 never ends, so it must not be read.
func TestSwitchingProtocols(t *testing.T) {
	t.Parallel()
	base := loopback(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn) // until the client closes the connection
	}))
	_, got := modify(t, newClient(t, base), crmapi.Call{Update: sample()})
	if got == nil || got.Class != crmapi.ClassTransient || !got.OutcomeUnknown {
		t.Errorf("%+v", got)
	}
}

// refusingAddr returns an address that refuses connections. The port is bound to a socket that does
// not listen: one that was only closed may be that of another server by the time of the call.
func refusingAddr(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	addr, ok := name.(*syscall.SockaddrInet4)
	if err != nil || !ok {
		t.Fatalf("the socket's address is %v: %v", name, err)
	}
	return fmt.Sprintf("127.0.0.1:%d", addr.Port)
}

func TestNotSent(t *testing.T) {
	t.Parallel()
	refusing := "http://" + refusingAddr(t)
	secure := httptest.NewUnstartedServer(crmapitest.New(options())) // its certificate is from an unknown authority
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := loopback(t, crmapitest.New(options()))
	plain.Scheme = "https"
	for name, base := range map[string]string{
		"refused": refusing, "unknown authority": secure.URL, "no TLS": plain.String(), "unknown host": "http://crm.invalid",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, got := modify(t, newClient(t, parseURL(t, base)), crmapi.Call{Update: sample()})
			if got == nil || got.Class != crmapi.ClassTransient || got.Sent || got.OutcomeUnknown || len(got.Unwrap()) == 0 {
				t.Errorf("%+v", got)
			}
			if name == "refused" && !errors.Is(got, syscall.ECONNREFUSED) {
				t.Errorf("the network's error is missing: %v", got.Unwrap())
			}
		})
	}
}

// TestDialThatHangs: the timeout ends the call before there is a connection.
func TestDialThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}}
		client := newClient(t, parseURL(t, "http://crm.test"), func(c *crmapi.Config) { c.HTTP = &http.Client{Transport: transport} })
		_, got := modify(t, client, crmapi.Call{Update: sample()})
		if got == nil || got.Class != crmapi.ClassTransient || got.Sent || !errors.Is(got, crmapi.ErrTimeout) {
			t.Errorf("%+v", got)
		}
	})
}

func TestSendBy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := crmapitest.New(options())
		client := newClient(t, parseURL(t, "http://crm.test"), func(c *crmapi.Config) { c.HTTP = inMemory(t, fake) })
		for _, by := range []time.Duration{0, -time.Second} {
			_, got := modify(t, client, crmapi.Call{Update: sample(), SendBy: time.Now().Add(by)})
			if got == nil || !errors.Is(got, crmapi.ErrTooLate) || got.Sent || got.OutcomeUnknown {
				t.Errorf("by %v: %+v", by, got)
			}
		}
		if len(fake.Log()) > 0 {
			t.Error("something was sent")
		}
		if _, got := modify(t, client, crmapi.Call{Update: sample(), SendBy: time.Now().Add(1)}); got != nil {
			t.Error(got)
		}
	})
}

// An unusedTransport fails the test if it is used.
type unusedTransport struct{ t *testing.T }

func (u unusedTransport) RoundTrip(*http.Request) (*http.Response, error) {
	u.t.Error("the transport was used")
	return nil, io.EOF
}

// TestTooLateOpensNoConnection: a call that is already too late does not even dial.
func TestTooLateOpensNoConnection(t *testing.T) {
	t.Parallel()
	client := newClient(t, parseURL(t, "http://crm.test"), func(c *crmapi.Config) { c.HTTP = &http.Client{Transport: unusedTransport{t}} })
	if _, got := modify(t, client, crmapi.Call{Update: sample(), SendBy: time.Now()}); got == nil || !errors.Is(got, crmapi.ErrTooLate) {
		t.Error(got)
	}
}

// A slowToken is a token source that waits before it returns a token. It always returns the same
// one.
type slowToken time.Duration

func (s slowToken) Token(context.Context) (string, error) {
	<-time.After(time.Duration(s))
	return token, nil
}

func (slowToken) Refresh(context.Context, string) (string, error) { return token, nil }

func TestSendByPassesDuringTokenWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := crmapitest.New(options())
		client := newClient(t, parseURL(t, "http://crm.test"), func(c *crmapi.Config) {
			c.HTTP, c.Token = inMemory(t, fake), slowToken(2*time.Second)
		})
		_, got := modify(t, client, crmapi.Call{Update: sample(), SendBy: time.Now().Add(time.Second)})
		if got == nil || !errors.Is(got, crmapi.ErrTooLate) || got.Sent || len(fake.Log()) > 0 {
			t.Errorf("%+v", got)
		}
	})
}

// TestSendByPassesDuringDial: the check comes after the dial, when only the body has not been sent
// yet.
func TestSendByPassesDuringDial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := crmapitest.New(options())
		hc := inMemory(t, fake)
		transport, _ := hc.Transport.(*http.Transport)
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			<-time.After(2 * time.Second)
			return dial(ctx, network, addr)
		}
		client := newClient(t, parseURL(t, "http://crm.test"), func(c *crmapi.Config) { c.HTTP = hc })
		_, got := modify(t, client, crmapi.Call{Update: sample(), SendBy: time.Now().Add(time.Second)})
		synctest.Wait()
		if got == nil || !errors.Is(got, crmapi.ErrTooLate) || got.Sent || len(fake.Log()) > 0 || fake.State(member)["position"] != nil {
			t.Errorf("%+v, %+v", got, fake.Log())
		}
	})
}

// A lateReader is a transport that first fails and lets the test read the body later, as net/http's
// write loop can.
type lateReader struct {
	mu   sync.Mutex
	body io.Reader
}

func (l *lateReader) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.body = r.Body
	return nil, io.EOF
}

func TestBodyIsSealedAfterTheCall(t *testing.T) {
	t.Parallel()
	late := &lateReader{}
	client := newClient(t, parseURL(t, "http://crm.test"), func(c *crmapi.Config) { c.HTTP = &http.Client{Transport: late} })
	_, got := modify(t, client, crmapi.Call{Update: sample()})
	if got == nil || got.Sent || got.Class != crmapi.ClassTransient {
		t.Fatalf("%+v", got)
	}
	if b, err := io.ReadAll(late.body); err == nil || len(b) > 0 {
		t.Errorf("%d bytes could be sent after the call was reported as not sent: %v", len(b), err)
	}
}

// A oneByteReader is a transport that reads one byte of the body and fails.
type oneByteReader struct{}

func (oneByteReader) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.ReadFull(r.Body, make([]byte, 1))
	return nil, io.EOF
}

func TestOneByteCountsAsSent(t *testing.T) {
	t.Parallel()
	client := newClient(t, parseURL(t, "http://crm.test"), func(c *crmapi.Config) { c.HTTP = &http.Client{Transport: oneByteReader{}} })
	if _, got := modify(t, client, crmapi.Call{Update: sample()}); got == nil || !got.Sent || got.Class != crmapi.ClassUnacknowledged {
		t.Errorf("%+v", got)
	}
}
