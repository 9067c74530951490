package dedupe

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A Mode is how Redis is deployed.
type Mode string

// The deployment modes.
const (
	ModeSingle   Mode = "single"   // one server; the empty mode means the same
	ModeSentinel Mode = "sentinel" // the addresses are those of sentinels
	ModeCluster  Mode = "cluster"  // the addresses are those of some of the nodes
)

// A ClientConfig describes how to reach Redis.
type ClientConfig struct {
	// URL is redis://[user[:password]@]host[:port][,host[:port]…][/db], or the same with
	// rediss:// for TLS. Several hosts need the sentinel or the cluster mode. A cluster has no db.
	// Sentinels are asked for the master that ?master_name=… names; without it, for mymaster.
	URL      string
	Mode     Mode
	Username string // overrides the user of the URL; empty: that of the URL
	Password string // overrides the password of the URL; empty: that of the URL
	// CurrentPassword, if set, returns the password for each new connection, in place of Password:
	// it may change. It must be safe for concurrent use.
	CurrentPassword func() string
	// SentinelUsername and SentinelPassword log in at the sentinels; empty: without. They have an
	// effect in the sentinel mode only.
	SentinelUsername, SentinelPassword string
	// CurrentSentinelPassword is to SentinelPassword what CurrentPassword is to Password.
	CurrentSentinelPassword func() string
	// TLS, if set, returns the TLS configuration for each new connection; it must be safe for
	// concurrent use. Nil: the system's certificates and no client certificate. It has an effect
	// with rediss:// only. Without a ServerName, the host of the address is expected.
	TLS func() *tls.Config
	// Concurrency is the maximum number of commands that run at once: the size of the connection
	// pool. 0 means the library's default.
	Concurrency int
}

// A ConfigError reports what is wrong with a ClientConfig. It never quotes the URL, which may
// contain a password.
type ConfigError struct {
	Field  string // URL or Mode
	Should string // what is allowed
}

// Error implements error.
func (e *ConfigError) Error() string { return "dedupe: redis " + e.Field + ": " + e.Should }

// replyTimeout is the read and write time-out. It is far above the duration of one script, 2.5 ms
// for 500 events, since dozens of scripts may wait in Redis' queue at once. It is well below the
// 5 s within which a call must begin after its lease was requested.
const replyTimeout = 2 * time.Second

// The limits of a connection attempt. A TLS handshake takes processor time at both ends, so that
// many at once are slow on a healthy network, for example after a failover.
const (
	dialTimeout    = time.Second
	tlsDialTimeout = 3 * time.Second // of TCP and TLS
)

// Open returns a client with short time-outs, so that an unavailable Redis is noticed quickly. The
// client respects the deadline of a context. A refusal by Redis' ACL is a [*PermissionError]. Open
// does not connect yet. The caller must close the client.
func Open(cfg ClientConfig) (redis.UniversalClient, error) {
	opts, err := clientOptions(cfg)
	if err != nil {
		return nil, err
	}
	client := redis.NewUniversalClient(opts)
	client.AddHook(permissionHook{client})
	return client, nil
}

func clientOptions(cfg ClientConfig) (*redis.UniversalOptions, error) {
	opts := &redis.UniversalOptions{
		ContextTimeoutEnabled:    true,
		DialTimeout:              dialTimeout,
		DialerRetries:            1, // the default of five takes seconds to report an outage
		ReadTimeout:              replyTimeout,
		WriteTimeout:             replyTimeout,
		MaxRetries:               1,
		PoolSize:                 cfg.Concurrency,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	query, err := parseURL(cfg, opts)
	if err != nil {
		return nil, err
	}
	if opts.TLSConfig != nil {
		opts.DialTimeout = tlsDialTimeout
	}
	if opts.TLSConfig != nil && cfg.TLS != nil {
		opts.TLSConfig, opts.Dialer = nil, tlsDialer(opts.DialTimeout, cfg.TLS)
	}
	if cfg.CurrentPassword != nil {
		user := opts.Username
		opts.CredentialsProviderContext = func(context.Context) (username, password string, err error) {
			return user, cfg.CurrentPassword(), nil
		}
	}
	switch cfg.Mode {
	case "", ModeSingle:
		if len(opts.Addrs) > 1 {
			return nil, &ConfigError{"URL", "must have one address in mode single"}
		}
	case ModeSentinel:
		opts.MasterName = "mymaster"
		if name := query.Get("master_name"); name != "" {
			opts.MasterName = name
		}
		logInAtSentinels(cfg, opts)
	case ModeCluster:
		opts.IsClusterMode = true
		if opts.DB != 0 {
			return nil, &ConfigError{"URL", "must not name a db in mode cluster"}
		}
	default:
		return nil, &ConfigError{"Mode", "must be single, sentinel or cluster"}
	}
	return opts, nil
}

// tlsDialer returns a function that connects with the TLS configuration of that moment. Keep-alives
// are those of the library's own dialer.
func tlsDialer(timeout time.Duration, config func() *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialer := &tls.Dialer{Config: config(), NetDialer: &net.Dialer{
			Timeout: timeout, // of the handshake, too
			KeepAliveConfig: net.KeepAliveConfig{
				Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3,
			},
		}}
		return dialer.DialContext(ctx, network, addr)
	}
}

// logInAtSentinels sets the credentials for sentinels. The library takes only constant ones. So a
// password that may change is sent by the hook that the library calls for new connections, those to
// the sentinels and those to the master alike: only the latter name no address.
func logInAtSentinels(cfg ClientConfig, opts *redis.UniversalOptions) {
	if cfg.CurrentSentinelPassword == nil {
		opts.SentinelUsername, opts.SentinelPassword = cfg.SentinelUsername, cfg.SentinelPassword
		return
	}
	opts.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		if strings.HasPrefix(conn.String(), "Redis<FailoverClient ") {
			return nil
		}
		if cfg.SentinelUsername == "" {
			return conn.Auth(ctx, cfg.CurrentSentinelPassword()).Err()
		}
		return conn.AuthACL(ctx, cfg.SentinelUsername, cfg.CurrentSentinelPassword()).Err()
	}
}

// parseURL parses the URL by hand: net/url rejects several hosts with ports, and its errors quote
// the rejected text.
func parseURL(cfg ClientConfig, opts *redis.UniversalOptions) (url.Values, error) {
	scheme, rest, _ := strings.Cut(cfg.URL, "://")
	switch scheme {
	case "redis":
	case "rediss":
		opts.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	default:
		return nil, &ConfigError{"URL", "must begin with redis:// or rediss://"}
	}
	rest, rawQuery, _ := strings.Cut(rest, "?")
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, &ConfigError{"URL", "must have a well-formed query"}
	}
	for name := range query {
		if name != "master_name" || cfg.Mode != ModeSentinel {
			return nil, &ConfigError{"URL", "must have no query except master_name in mode sentinel"}
		}
	}
	// The password may contain a slash, so the user is cut off first.
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if err := parseUser(rest[:at], opts); err != nil {
			return nil, err
		}
		rest = rest[at+1:]
	}
	if cfg.Username != "" {
		opts.Username = cfg.Username
	}
	if cfg.Password != "" {
		opts.Password = cfg.Password
	}
	hosts, db, _ := strings.Cut(rest, "/")
	if db != "" {
		if opts.DB, err = strconv.Atoi(db); err != nil || opts.DB < 0 {
			return nil, &ConfigError{"URL", "must have a number as its db"}
		}
	}
	opts.Addrs, err = parseHosts(hosts, cfg.Mode)
	return query, err
}

func parseUser(user string, opts *redis.UniversalOptions) error {
	name, password, _ := strings.Cut(user, ":")
	var err1, err2 error
	opts.Username, err1 = url.PathUnescape(name)
	opts.Password, err2 = url.PathUnescape(password)
	if err1 != nil || err2 != nil {
		return &ConfigError{"URL", "must have its user and password percent-encoded"}
	}
	return nil
}

func parseHosts(hosts string, mode Mode) ([]string, error) {
	defaultPort := "6379"
	if mode == ModeSentinel {
		defaultPort = "26379"
	}
	var addrs []string
	for addr := range strings.SplitSeq(hosts, ",") {
		host, port, err := net.SplitHostPort(addr)
		if err != nil { // no port, or no address at all
			host, port = strings.Trim(addr, "[]"), defaultPort
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if host == "" || strings.ContainsAny(host, " /@[]") || err != nil || n == 0 {
			return nil, &ConfigError{"URL", "must have host:port, or several separated by commas"}
		}
		addrs = append(addrs, net.JoinHostPort(host, port))
	}
	return addrs, nil
}

// SetClientLog sends what the Redis library would write to stderr to the log, at level debug:
// everything important is returned as an error too. It affects the whole process, so only the
// program should call it, once, before it opens a client.
func SetClientLog(log *slog.Logger) { redis.SetLogger(clientLog{log}) }

type clientLog struct{ log *slog.Logger }

// Printf implements the library's logger interface.
func (l clientLog) Printf(ctx context.Context, format string, v ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.LogAttrs(ctx, slog.LevelDebug, "redis client", slog.String("detail", fmt.Sprintf(format, v...)))
	}
}
