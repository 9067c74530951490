// Package wiring builds the service's parts from the configuration. Building makes
// no connection: whatever is wrong here is wrong with the configuration.
package wiring

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/otlp"
	"membersync/cmd/internal/wiring/credentials"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
)

// leaseMargin is what a lease lives beyond twice the time of a call.
const leaseMargin = 5 * time.Second

// Parts are what the service is made of.
type Parts struct {
	Logger      *slog.Logger
	Level       *slog.LevelVar // of the logger
	Kafka       *kafka.Client  // its transport is shared by all of the service
	Dialer      *kafka.Dialer  // of the consumer group's own connections
	Redis       redis.UniversalClient
	Store       *dedupe.Store
	CRM         *crmapi.Client
	Token       crmapi.TokenSource
	Mapping     *Mapping
	Hashes      *Hashes // lookups of the mapping that Redis holds; nil: there are none
	DeadLetters *dlq.Writer
	Archive     *dlq.Reader
	Audit       *dlq.Auditor
	// EditDigest is that of edited values, under the state key; nil: there is no key.
	EditDigest dlq.ValueDigest
	Traces     *otlp.Traces // nil: tracing is off

	files credentials.Files // those that are read again while the program runs
	close []func()
}

// Env is what parts take from the process.
type Env struct {
	Log      io.Writer                    // where log lines go
	ReadFile func(string) ([]byte, error) // reads certificates, keys, the mapping and its tables
	// Service keeps token fetches apart from those of other instances, by a lock in
	// Redis. A command that must change nothing goes without.
	Service bool
	// Traces opens tracing; nil: there is none.
	Traces func(*slog.Logger) *otlp.Traces
}

// Build makes the parts. Its error joins every fault, none of which holds a secret.
func Build(cfg config.Config, env Env) (*Parts, error) {
	p := &Parts{Level: new(slog.LevelVar), EditDigest: dlq.NewValueDigest(cfg.State.KeyBytes())}
	p.Level.Set(cfg.Log.Level)
	p.Logger = Logger(cfg.Log.Format, p.Level, env.Log)
	p.files = credentials.Files{Read: env.ReadFile, Log: p.Logger}
	if env.Traces != nil {
		p.Traces = env.Traces(p.Logger)
		p.close = append(p.close, p.Traces.Close)
	}
	err := errors.Join(
		p.addMapping(cfg, env.ReadFile),
		p.addKafka(cfg),
		p.addRedis(cfg),
		p.addCRM(cfg, env.Service),
	)
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close gives all connections back.
func (p *Parts) Close() {
	for i := range p.close {
		p.close[len(p.close)-1-i]()
	}
	p.close = nil
}

// Logger makes the logger. Unless the level is debug, a message that repeats fast is sampled.
func Logger(format string, level slog.Leveler, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readable}
	if format == "text" {
		return slog.New(sampled(slog.NewTextHandler(w, options)))
	}
	return slog.New(sampled(slog.NewJSONHandler(w, options)))
}

// readable spells a duration as people do: 1.5s, not 1500000000.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().Round(time.Millisecond).String())
	}
	return a
}

func (p *Parts) addMapping(cfg config.Config, readFile func(string) ([]byte, error)) (err error) {
	p.Mapping, err = LoadMapping(cfg, readFile)
	return err
}

// Lease is how long a member stays acquired from each send.
func Lease(cfg config.Config) time.Duration { return 2*cfg.CRM.Timeout + leaseMargin }

// secret returns a function that returns the current secret: that of its file, if it has one. The
// setting is that of the file.
func (p *Parts) secret(setting string, s config.Secret) (func() string, error) {
	if s.Path() == "" {
		return s.Reveal, nil
	}
	return credentials.Secret(p.files, credentials.File{Setting: setting, Path: s.Path()}, config.SecretText)
}

// tlsFiles names the files of the settings that begin with prefix.
func tlsFiles(prefix, ca, cert, key, serverName string) credentials.TLSFiles {
	return credentials.TLSFiles{
		CA:         credentials.File{Setting: prefix + "TLS_CA_FILE", Path: ca},
		Cert:       credentials.File{Setting: prefix + "TLS_CERT_FILE", Path: cert},
		Key:        credentials.File{Setting: prefix + "TLS_KEY_FILE", Path: key},
		ServerName: serverName,
	}
}

// Advice returns what to do about an error of a TLS connection to kafka, redis or the crm, as a
// text to append to the error's. It is empty for other errors.
func Advice(server string, err error) string {
	return credentials.Advice(err, "MEMBERSYNC_"+strings.ToUpper(server)+"_")
}

// redisClient returns a client whose connections have the credentials of their moment.
func (p *Parts) redisClient(cfg config.Config) (redis.UniversalClient, error) {
	const prefix = "MEMBERSYNC_REDIS_"
	r := cfg.Redis
	client := dedupe.ClientConfig{
		URL:              r.URL.String(),
		Mode:             dedupe.Mode(r.Mode),
		Username:         r.Username,
		Password:         r.Password.Reveal(),
		SentinelUsername: r.SentinelUsername,
		SentinelPassword: r.SentinelPassword.Reveal(),
		Concurrency:      cfg.CRM.Concurrency,
	}
	var err error
	if r.URL.TLS {
		if client.TLS, err = credentials.TLS(p.files, tlsFiles(prefix, r.TLSCAFile, r.TLSCertFile, r.TLSKeyFile, r.TLSServerName)); err != nil {
			return nil, err
		}
	}
	if r.Password.Path() != "" {
		if client.CurrentPassword, err = p.secret(prefix+"PASSWORD_FILE", r.Password); err != nil {
			return nil, err
		}
	}
	if r.SentinelPassword.Path() != "" {
		if client.CurrentSentinelPassword, err = p.secret(prefix+"SENTINEL_PASSWORD_FILE", r.SentinelPassword); err != nil {
			return nil, err
		}
	}
	return dedupe.Open(client)
}

func (p *Parts) addRedis(cfg config.Config) error {
	client, err := p.redisClient(cfg)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	p.Redis = client
	p.close = append(p.close, func() { _ = client.Close() })
	options := dedupe.Options{
		Prefix:    cfg.Redis.Prefix,
		Scope:     cfg.CRM.BaseURL + " " + cfg.CRM.CorpID,
		DoneTTL:   cfg.State.DoneTTL,
		MemberTTL: cfg.State.MemberTTL,
		Lease:     Lease(cfg),
	}
	if key := cfg.State.KeyBytes(); key != nil {
		options.Key, options.DigestTTL = key, cfg.State.DigestTTL
	}
	if p.Mapping != nil {
		if hashes, any := NewHashes(p.Mapping.Now(), client); any {
			p.Hashes = hashes
		}
	}
	p.Store, err = dedupe.New(client, options)
	return err
}
