// Package config loads membersync's configuration: flags before environment
// before one YAML file, one name for all three, every fault reported at once.
//
// One table, in the settings files, holds each setting's name, default, rule and
// meaning. Flags, variables, YAML keys, the help text and the tables of cmd/README.md
// all derive from it: to add a setting is to add a field and a row.
package config

import (
	"log/slog"
	"net/url"
	"time"

	"membersync/crmapi"
)

// A Config is a whole valid configuration. Load makes it.
type Config struct {
	Kafka Kafka
	DLQ   DLQ
	Audit Audit
	Redis Redis
	State State
	Order Order
	CRM   CRM
	Admin Admin
	UI    UI
	Log   Log

	// Mapping names the mapping from events to updates: a built-in one or a file.
	// Default canonical; never empty.
	Mapping string

	// Timezone is the zone of dates that name none. Default nil: such a date is
	// refused as invalid_field.
	Timezone *time.Location

	// AllowPlaintext permits passwords and tokens without TLS to hosts other than loopback.
	// Default false.
	AllowPlaintext bool

	// ShutdownTimeout bounds the drain after SIGTERM. Default 25s; never zero.
	ShutdownTimeout time.Duration
}

// Kafka says where the events come from and how much of them is held.
type Kafka struct {
	// Brokers are the addresses to bootstrap from, each host:port.
	// Default localhost:9092; never empty.
	Brokers []string

	// Topic is the source topic. Default hris.employee.changed; never empty.
	Topic string

	// Group is the consumer group. Default membersync; never empty.
	Group string

	// TLS turns on TLS to the brokers. Default false.
	TLS bool

	// TLSCAFile holds the certificates (PEM) that the brokers' are checked
	// against. Default empty: the system's.
	TLSCAFile string

	// TLSCertFile and TLSKeyFile hold the client's certificate and key (PEM).
	// Default empty: none. Both or neither.
	TLSCertFile, TLSKeyFile string

	// TLSServerName is the name that the brokers' certificates must have. Default empty: the host
	// of the address that is connected to.
	TLSServerName string

	// SASLMechanism is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER. Default empty: no
	// authentication.
	SASLMechanism string

	// SASLUsername and SASLPassword are the user and password of PLAIN and SCRAM. Both are set with
	// these mechanisms, and neither otherwise.
	SASLUsername string
	SASLPassword Secret

	// SASLTokenURL, SASLClientID and SASLClientSecret fetch the token of OAUTHBEARER, by client
	// credentials (RFC 6749, section 4.4). All are set with this mechanism, and none otherwise.
	SASLTokenURL     string
	SASLClientID     string
	SASLClientSecret Secret

	// AutoOffsetReset is where a group without any offset starts: earliest or
	// latest. Default earliest.
	AutoOffsetReset string

	// BufferRecords bounds the records fetched and not finished. Default 20000;
	// never zero.
	BufferRecords int

	// BufferBytes bounds the bytes of those records; a larger record is admitted
	// alone. Default 32MiB; never zero.
	BufferBytes int64

	// MaxRecordBytes is the size over which a record is dead-lettered as
	// oversized. Default 1MiB; never zero.
	MaxRecordBytes int64

	// CreateTopics makes membersync's own topics where they are missing, never
	// the source topic. Default true.
	CreateTopics bool
}

// DLQ names the topics of dead letters and of redrives.
type DLQ struct {
	// Topic receives dead letters. Default the source topic and ".dlq".
	Topic string

	// RedriveTopic receives what is to be run again. Default the source topic and
	// ".redrive".
	RedriveTopic string

	// Retention is that of the dead-letter and audit topics when created.
	// Default 720h; never zero.
	Retention time.Duration

	// StormShare is the share of the latest events, 0 to 1, beyond which none is
	// dead-lettered any more until one succeeds. Default 0.5; 0 turns the guard off.
	StormShare float64
}

// Audit names the topic of who did what.
type Audit struct {
	// Topic receives audit records. Default the source topic and ".audit".
	Topic string
}

// Redis says where state and the shared limit are kept.
type Redis struct {
	// URL locates the servers. Default redis://localhost:6379/0. User and
	// password are moved to the fields below when it is loaded.
	URL RedisURL

	// Mode is single, sentinel or cluster. Default single.
	Mode string

	// Username is the ACL user. Default empty: Redis' default user.
	Username string

	// Password is the password. Default unset: none is sent.
	Password Secret

	// TLSCAFile, TLSCertFile, TLSKeyFile and TLSServerName are as in Kafka. They are set only if
	// URL.TLS is.
	TLSCAFile, TLSCertFile, TLSKeyFile, TLSServerName string

	// SentinelUsername and SentinelPassword log in at the sentinels. Default empty: without. They
	// are set only in mode sentinel.
	SentinelUsername string
	SentinelPassword Secret

	// Prefix begins every key. Default ms; never empty.
	Prefix string
}

// State says how long what is known of events and members counts.
type State struct {
	// DoneTTL is how long an event id is remembered. Default 336h; never zero.
	DoneTTL time.Duration

	// MemberTTL is how long the versions of a member without events are kept. Default 0: for good.
	// Else at least DoneTTL, and at least as long as any topic can hold an event.
	MemberTTL time.Duration

	// Key keys every hash in Redis and turns on "the CRM already holds this value": see KeyBytes.
	// Default unset: plain hashes, and no digests.
	Key Secret

	// DigestTTL is how long a digest counts as what the CRM holds. Default 24h; never zero.
	DigestTTL time.Duration
}

// Order bounds the order value of events.
type Order struct {
	// MaxAhead is how far an event's time may lie ahead of its record's timestamp.
	// Default 24h; never zero.
	MaxAhead time.Duration
}

// CRM says how to call the CRM.
type CRM struct {
	// BaseURL is the CRM's address without a trailing slash. Required.
	BaseURL string

	// Path is that of the Modify Member API. Default /cgi/crm/v2/data/update.
	Path string

	// API is the form of an update: user, the user object of the page, or object, that of the newer
	// object API. Default user.
	API string

	// Object says how updates are written for the object API. Default: the names that are published.
	// It counts only with API object.
	Object crmapi.Object

	// TLSCAFile, TLSCertFile, TLSKeyFile and TLSServerName are as in Kafka. They are set only if
	// BaseURL is https.
	TLSCAFile, TLSCertFile, TLSKeyFile, TLSServerName string

	// Proxy is the URL of the proxy for CRM calls and token fetches; it may hold a password.
	// Default unset: none, whatever the environment says. See ProxyURL.
	Proxy Secret

	// CorpID is the company on the CRM's open platform. Required.
	CorpID string

	// Token is a fixed access token. Default unset: AppID, AppSecret and
	// PermanentCode are all set instead.
	Token Secret

	// AppID is the app that fetches tokens. Default empty: Token is set.
	AppID string

	// AppSecret is the app's secret. Default unset: Token is set.
	AppSecret Secret

	// PermanentCode is the company's authorization. Default unset: Token is set.
	PermanentCode Secret

	// Rate is the limit that all instances share. Default 100/20s; zero: none.
	Rate Rate

	// QuotaReset is when the daily quota starts again. Default 00:00 Asia/Shanghai.
	QuotaReset ClockTime

	// Concurrency bounds the calls in flight. Default 64; never zero.
	Concurrency int

	// Timeout is that of one attempt. Default 10s; never zero.
	Timeout time.Duration

	// RetryBudget is how long the calls of one event may fail before it is
	// dead-lettered, counted only while other members' calls succeed. Default 5m;
	// never zero.
	RetryBudget time.Duration

	// ErrorCodes are more rows for the error table. Default nil: none.
	ErrorCodes crmapi.Table
}

// ProxyURL returns the URL of the proxy; nil: there is none.
func (c CRM) ProxyURL() *url.URL {
	u, err := url.Parse(c.Proxy.Reveal())
	if !c.Proxy.IsSet() || err != nil {
		return nil
	}
	return u
}

// Admin is the listener for health and metrics.
type Admin struct {
	// Addr is host:port. Default 127.0.0.1:8080; empty: no listener.
	Addr string
}

// UI is what the web pages of membersync ui need.
type UI struct {
	// Addr is host:port. Default 127.0.0.1:8081; never empty where the pages are served.
	Addr string

	// Token is that of operators, ViewerToken that of viewers. Default unset. See [UI.NeedsToken].
	Token, ViewerToken Secret

	// UserHeader is the header in which a trusted proxy names the actor. It never authenticates.
	// Default empty: the login form asks for a name.
	UserHeader string
}

// NeedsToken reports whether the pages can be reached from other machines although no token is set.
func (u UI) NeedsToken() bool {
	return !u.IsLoopback() && !u.Token.IsSet() && !u.ViewerToken.IsSet()
}

// IsLoopback reports whether only this machine can reach the address.
func (u UI) IsLoopback() bool { return !isRemote(u.Addr) }

// Log says what is logged, and how.
type Log struct {
	// Level is the least severe level logged: debug, info, warn, error. Default info.
	Level slog.Level

	// Format is json or text. Default json.
	Format string
}
