package dedupe_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"membersync/dedupe"
)

// parts are the options of a client that depend on the configuration.
type parts struct {
	Addrs              []string
	Username, Password string
	DB                 int
	TLS                bool
}

func partsOf(client redis.UniversalClient) parts {
	switch c := client.(type) {
	case *redis.Client:
		o := c.Options()
		return parts{[]string{o.Addr}, o.Username, o.Password, o.DB, isTLS(o.TLSConfig)}
	case *redis.ClusterClient:
		o := c.Options()
		return parts{o.Addrs, o.Username, o.Password, 0, isTLS(o.TLSConfig)}
	}
	return parts{}
}

func isTLS(c *tls.Config) bool { return c != nil && c.MinVersion == tls.VersionTLS12 }

func TestOpen(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg  dedupe.ClientConfig
		want parts
	}{
		"plain":        {dedupe.ClientConfig{URL: "redis://h:1/2"}, parts{Addrs: []string{"h:1"}, DB: 2}},
		"default port": {dedupe.ClientConfig{URL: "redis://h"}, parts{Addrs: []string{"h:6379"}}},
		"IPv6":         {dedupe.ClientConfig{URL: "redis://[::1]/0"}, parts{Addrs: []string{"[::1]:6379"}}},
		"TLS and a user": {
			dedupe.ClientConfig{URL: "rediss://u:" + "p%40%2Fss@h:1", Mode: dedupe.ModeSingle},
			parts{Addrs: []string{"h:1"}, Username: "u", Password: "p@/ss", TLS: true},
		},
		"password alone": {dedupe.ClientConfig{URL: "redis://:p@h:1"}, parts{Addrs: []string{"h:1"}, Password: "p"}},
		"separate user and password override the URL": {
			dedupe.ClientConfig{URL: "redis://u:" + "p@h:1", Username: "v", Password: "q"},
			parts{Addrs: []string{"h:1"}, Username: "v", Password: "q"},
		},
		"cluster": {
			dedupe.ClientConfig{URL: "redis://u:p@h1:1,h2:2,h3", Mode: dedupe.ModeCluster},
			parts{Addrs: []string{"h1:1", "h2:2", "h3:6379"}, Username: "u", Password: "p"},
		},
		"cluster of one address": {
			dedupe.ClientConfig{URL: "rediss://h1:1", Mode: dedupe.ModeCluster}, parts{Addrs: []string{"h1:1"}, TLS: true},
		},
		"sentinel": {
			dedupe.ClientConfig{URL: "redis://h1,h2/3?master_name=m", Mode: dedupe.ModeSentinel},
			parts{Addrs: []string{"FailoverClient"}, DB: 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := dedupe.Open(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			closeAtEnd(t, client)
			if diff := cmp.Diff(tt.want, partsOf(client)); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOpenHasShortTimeouts(t *testing.T) {
	t.Parallel()
	client, err := dedupe.Open(dedupe.ClientConfig{URL: "redis://h", Concurrency: 7})
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, client)
	single, ok := client.(*redis.Client)
	if !ok {
		t.Fatalf("client type %T, want *redis.Client", client)
	}
	o := single.Options()
	if !o.ContextTimeoutEnabled || o.MaxRetries != 1 || o.DialTimeout != time.Second || o.PoolSize != 7 ||
		o.ReadTimeout != 2*time.Second || o.WriteTimeout != 2*time.Second ||
		o.MaintNotificationsConfig.Mode != maintnotifications.ModeDisabled {
		t.Errorf("options %+v, want the documented ones", o)
	}
}

func TestOpenErrorsQuoteNothing(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]dedupe.ClientConfig{
		"another scheme":            {URL: "http://secret@h"},
		"no scheme":                 {URL: "secret:6379"},
		"nothing":                   {},
		"no host":                   {URL: "redis://:secret@/0"},
		"an empty address":          {URL: "redis://:secret@h1,,h2", Mode: dedupe.ModeCluster},
		"port not a number":         {URL: "redis://:secret@h:secret"},
		"port zero":                 {URL: "redis://:secret@h:0"},
		"db not a number":           {URL: "redis://:secret@h/secret"},
		"bad percent encoding":      {URL: "redis://:secret%zz@h"},
		"bad query":                 {URL: "redis://:secret@h?master_name=%zz", Mode: dedupe.ModeSentinel},
		"unknown query":             {URL: "redis://:secret@h?secret=1"},
		"two addresses, one server": {URL: "redis://:secret@h1,h2"},
		"db in a cluster":           {URL: "redis://:secret@h1,h2/1", Mode: dedupe.ModeCluster},
		"unknown mode":              {URL: "redis://:secret@h", Mode: "secret"},
	} {
		_, err := dedupe.Open(cfg)
		if _, ok := errors.AsType[*dedupe.ConfigError](err); !ok {
			t.Errorf("%s: error %v, want a ConfigError", name, err)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error quotes the configuration: %v", name, err)
		}
	}
}

// A lockedBuffer can be read while the library's goroutines still log.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestSetClientLog is not parallel: the library's logger is shared by the whole process.
func TestSetClientLog(t *testing.T) { //nolint:paralleltest // sets the shared logger
	var out lockedBuffer
	dedupe.SetClientLog(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer dedupe.SetClientLog(slog.New(slog.DiscardHandler))
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialerRetries: 1})
	closeAtEnd(t, client)
	if client.Ping(t.Context()).Err() == nil {
		t.Skip("a server listens on port 1")
	}
	if !strings.Contains(out.String(), `"msg":"redis client"`) {
		t.Errorf("the log has %q, want the library's message", out.String())
	}
}

// Each new connection logs in with the password of the moment.
func TestOpenFollowsThePassword(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]dedupe.Mode{"single": dedupe.ModeSingle, "cluster": dedupe.ModeCluster} {
		server := miniredis.RunT(t)
		server.RequireUserAuth("user", "old")
		var password atomic.Value
		password.Store("old")
		client, err := dedupe.Open(dedupe.ClientConfig{
			URL: "redis://user:first@" + server.Addr(), Mode: mode, CurrentPassword: func() string { s, _ := password.Load().(string); return s },
		})
		if err != nil {
			t.Fatal(err)
		}
		closeAtEnd(t, client)
		if err := client.Ping(t.Context()).Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
		server.RequireUserAuth("user", "new") // while nothing listens: it is read without a lock
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
		if err := client.Ping(t.Context()).Err(); err == nil {
			t.Errorf("%s: the old password is accepted", name)
		}
		password.Store("new")
		if err := client.Ping(t.Context()).Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A sentinel names a master to those who have logged in.
type sentinel struct {
	*miniredis.Miniredis

	master   *miniredis.Miniredis
	mu       sync.Mutex // guards the fields below
	login    []string   // of AUTH
	loggedIn map[*server.Peer]bool
}

func newSentinel(t *testing.T, master *miniredis.Miniredis) *sentinel {
	t.Helper()
	s := &sentinel{Miniredis: miniredis.RunT(t), master: master, loggedIn: make(map[*server.Peer]bool)}
	s.hook()
	return s
}

// hook is set again after a restart.
func (s *sentinel) hook() { s.Server().SetPreHook(s.command) }

func (s *sentinel) command(c *server.Peer, command string, args ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if command == "HELLO" && len(args) > 2 {
		s.loggedIn[c] = slices.Equal(args[len(args)-len(s.login):], s.login)
	} else if command == "AUTH" {
		s.loggedIn[c] = slices.Equal(args, s.login)
	}
	switch {
	case command != "SENTINEL":
		return false
	case !s.loggedIn[c]:
		c.WriteError("NOAUTH Authentication required.")
	case len(args) == 2 && strings.EqualFold(args[0], "get-master-addr-by-name"):
		c.WriteStrings([]string{s.master.Host(), s.master.Port()})
	default: // no other sentinels, no replicas
		c.WriteLen(0)
	}
	return true
}

func (s *sentinel) setLogin(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login = []string{password}
	if user != "" {
		s.login = []string{user, password}
		s.RequireUserAuth(user, password)
	}
	s.RequireAuth(password)
}

// Sentinels have credentials of their own, which may change, too. The master gets its own.
func TestOpenLogsInAtSentinels(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"", "watcher"} {
		master := miniredis.RunT(t)
		master.RequireUserAuth("user", "of-master")
		watcher := newSentinel(t, master)
		watcher.setLogin(user, "old")
		cfg := dedupe.ClientConfig{
			URL: "redis://user:of-master@" + watcher.Addr(), Mode: dedupe.ModeSentinel, SentinelUsername: user, SentinelPassword: "old",
		}
		fixed, err := dedupe.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		closeAtEnd(t, fixed)
		if err := fixed.Ping(t.Context()).Err(); err != nil {
			t.Errorf("user %q: %v", user, err)
		}
		var password atomic.Value
		password.Store("old")
		cfg.CurrentSentinelPassword = func() string { s, _ := password.Load().(string); return s }
		client, err := dedupe.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		closeAtEnd(t, client)
		if err := client.Ping(t.Context()).Err(); err != nil {
			t.Errorf("user %q, changing: %v", user, err)
		}
		for _, s := range []*miniredis.Miniredis{master, watcher.Miniredis} {
			s.Close()
		}
		// While nothing listens: the clients connect again in the background, and miniredis reads its
		// passwords without a lock.
		watcher.setLogin(user, "new")
		for _, s := range []*miniredis.Miniredis{master, watcher.Miniredis} {
			if err := s.Restart(); err != nil {
				t.Fatal(err)
			}
		}
		watcher.hook()
		password.Store("new")
		if err := client.Ping(t.Context()).Err(); err != nil {
			t.Errorf("user %q, changed: %v", user, err)
		}
	}
}

// Each new connection has the TLS configuration of the moment.
func TestOpenFollowsTLS(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	secure.Close()
	redisServer, err := miniredis.RunTLS(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: secure.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(redisServer.Close)
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	var current atomic.Pointer[tls.Config]
	current.Store(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()})
	for _, mode := range []dedupe.Mode{dedupe.ModeSingle, dedupe.ModeCluster} {
		client, err := dedupe.Open(dedupe.ClientConfig{URL: "rediss://" + redisServer.Addr(), Mode: mode, TLS: current.Load})
		if err != nil {
			t.Fatal(err)
		}
		closeAtEnd(t, client)
		err = client.Ping(t.Context()).Err()
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok && mode == dedupe.ModeSingle || err == nil {
			t.Errorf("%s: unknown authority: %v", mode, err)
		}
		trusting := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
		old := current.Swap(trusting)
		if err := client.Ping(t.Context()).Err(); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		current.Store(old)
	}
}

// A handshake of more than a second is slow, not an outage: it takes processor time at both ends.
func TestOpenAwaitsSlowHandshakes(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	secure.Close()
	redisServer, err := miniredis.RunTLS(&tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			<-time.After(1200 * time.Millisecond)
			return &secure.TLS.Certificates[0], nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(redisServer.Close)
	trusting := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	trusting.RootCAs.AddCert(secure.Certificate())
	client, err := dedupe.Open(dedupe.ClientConfig{
		URL: "rediss://" + redisServer.Addr(), TLS: func() *tls.Config { return trusting },
	})
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, client)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}
