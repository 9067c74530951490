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

// A Mode is how Redis is run.
type Mode string

// The modes.
const (
	ModeSingle   Mode = "single"   // one server; also the meaning of the empty mode
	ModeSentinel Mode = "sentinel" // the addresses are those of sentinels
	ModeCluster  Mode = "cluster"  // the addresses are those of some nodes
)

// A ClientConfig says how to reach Redis.
type ClientConfig struct {
	// URL is redis://[user[:password]@]host[:port][,host[:port]…][/db] or the same with
	// rediss:// for TLS. Several hosts need the sentinel or the cluster mode, a db
	// is not to be had in a cluster. Sentinels are asked for the master that
	// ?master_name=… names, or else mymaster.
	URL      string
	Mode     Mode
	Username string // goes before that of the URL
	Password string // goes before that of the URL
	// Concurrency is how many commands run at once at most: the size of the pool. 0
	// leaves it to the library.
	Concurrency int
}

// A ConfigError says what is wrong with a ClientConfig. It never quotes the URL, which
// may hold a password.
type ConfigError struct {
	Field  string // URL or Mode
	Should string // what it should be
}

// Error implements error.
func (e *ConfigError) Error() string { return "dedupe: redis " + e.Field + ": " + e.Should }

// replyTimeout is far above what a script takes, 2.5 ms for 500 events, since dozens of them may stand in
// Redis' queue at once; and well below the 5 s within which a call must begin once its lease was asked for.
const replyTimeout = 2 * time.Second

// Open returns a client that gives up soon, so that Redis away is noticed at once, and
// that keeps to the deadline of a context. It does not connect yet; the caller closes it.
func Open(cfg ClientConfig) (redis.UniversalClient, error) {
	opts, err := clientOptions(cfg)
	if err != nil {
		return nil, err
	}
	return redis.NewUniversalClient(opts), nil
}

func clientOptions(cfg ClientConfig) (*redis.UniversalOptions, error) {
	opts := &redis.UniversalOptions{
		ContextTimeoutEnabled:    true,
		DialTimeout:              time.Second,
		DialerRetries:            1, // the library's five would hide for seconds that Redis is away
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

// parseURL takes the URL apart by hand: net/url refuses several hosts with ports, and
// its errors quote what they refuse.
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
			return nil, &ConfigError{"URL", "must have no query but master_name in mode sentinel"}
		}
	}
	// The password may hold a slash, so the user is cut off first.
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
			return nil, &ConfigError{"URL", "must have host:port, or several between commas"}
		}
		addrs = append(addrs, net.JoinHostPort(host, port))
	}
	return addrs, nil
}

// SetClientLog sends what the Redis library would write to stderr to the log, at the
// level of debug: all that matters comes as an error too. It acts on the whole process, so it is
// for the program to call, once, before it opens a client.
func SetClientLog(log *slog.Logger) { redis.SetLogger(clientLog{log}) }

type clientLog struct{ log *slog.Logger }

// Printf implements the library's logger.
func (l clientLog) Printf(ctx context.Context, format string, v ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.LogAttrs(ctx, slog.LevelDebug, "redis client", slog.String("detail", fmt.Sprintf(format, v...)))
	}
}
