package chaos_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"membersync/cmd/bench/internal/chaos"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// echo starts a server that sends every line back and reports each line that it gets.
func echo(t *testing.T) (addr string, lines <-chan string) {
	t.Helper()
	listener := listen(t)
	got := make(chan string, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				for scan := bufio.NewScanner(conn); scan.Scan(); {
					got <- scan.Text()
					_, _ = conn.Write(append(scan.Bytes(), '\n'))
				}
			}()
		}
	}()
	return listener.Addr().String(), got
}

func open(t *testing.T, upstream string) *chaos.Proxy {
	t.Helper()
	p, err := chaos.NewProxies().Open("127.0.0.1:0", upstream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

type client struct {
	t *testing.T
	net.Conn
	answers *bufio.Reader
}

func dial(t *testing.T, p *chaos.Proxy) *client {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t: t, Conn: conn, answers: bufio.NewReader(conn)}
}

// ask sends a line and returns the response, or an error after the limit.
func (c *client) ask(line string, limit time.Duration) (string, error) {
	c.t.Helper()
	if _, err := c.Write([]byte(line + "\n")); err != nil {
		return "", err
	}
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		c.t.Fatal(err)
	}
	return c.answers.ReadString('\n')
}

const (
	long  = 10 * time.Second
	short = 300 * time.Millisecond
)

func (c *client) wantEcho(line string) {
	c.t.Helper()
	if answer, err := c.ask(line, long); err != nil || answer != line+"\n" {
		c.t.Fatalf("%q, %v", answer, err)
	}
}

// wantClosed checks that the connection is closed without data.
func (c *client) wantClosed() {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(long)); err != nil {
		c.t.Fatal(err)
	}
	if answer, err := c.answers.ReadString('\n'); err == nil || errors.Is(err, os.ErrDeadlineExceeded) || answer != "" {
		c.t.Errorf("%q, %v", answer, err)
	}
}

func TestCuts(t *testing.T) {
	t.Parallel()
	for _, way := range chaos.Ways() {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			addr, lines := echo(t)
			p := open(t, addr)
			c := dial(t, p)
			c.wantEcho("before")
			<-lines
			if err := p.Cut(way); err != nil {
				t.Fatal(err)
			}
			if err := p.Cut(chaos.Slow); !errors.Is(err, chaos.ErrCut) {
				t.Errorf("cut twice: %v", err)
			}
			during(t, way, p, c, lines)
			if err := errors.Join(p.Restore(t.Context()), p.Restore(t.Context())); err != nil {
				t.Fatal(err)
			}
			if way == chaos.Silent || way == chaos.Deaf {
				c.wantClosed()
			}
			dial(t, p).wantEcho("after")
			if way == chaos.Silent { // data dropped by the cut never arrives
				if got := <-lines; got != "after" {
					t.Errorf("the server got %q", got)
				}
			}
		})
	}
}

func during(t *testing.T, way chaos.Way, p *chaos.Proxy, c *client, lines <-chan string) {
	t.Helper()
	began := time.Now()
	switch way {
	case chaos.Refused:
		c.wantClosed()
		var dialer net.Dialer
		if conn, err := dialer.DialContext(t.Context(), "tcp", p.Addr()); err == nil {
			_ = conn.Close()
			t.Error("a new connection is taken")
		}
	case chaos.Silent, chaos.Deaf:
		if answer, err := c.ask("during", short); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q, %v", answer, err)
		}
		if way == chaos.Deaf && <-lines != "during" {
			t.Error("it should have got through")
		}
	case chaos.Slow:
		c.wantEcho("during")
		if took := time.Since(began); took < 40*time.Millisecond {
			t.Errorf("took %v", took)
		}
	case chaos.Partly:
		silent := 0
		for range 20 {
			if _, err := dial(t, p).ask("during", short/3); errors.Is(err, os.ErrDeadlineExceeded) {
				silent++
			}
		}
		if silent == 0 || silent == 20 {
			t.Errorf("%d of 20 connections are silent", silent)
		}
	}
}

func TestServerThatIsAway(t *testing.T) {
	t.Parallel()
	c := dial(t, open(t, "127.0.0.1:1"))
	if _, err := c.answers.ReadString('\n'); !errors.Is(err, io.EOF) {
		c.wantClosed()
	}
}
