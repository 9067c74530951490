// Package wiring builds the service's parts from the configuration. Building makes
// no connection: whatever is wrong here is wrong with the configuration.
package wiring

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/config"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
)

// tokenFetches is how often all instances together fetch an access token in a minute, failed
// fetches included. The vendor allows ten, and `check` fetches one of its own.
const tokenFetches = 9

// leaseMargin is what a lease lives beyond twice the time of a call.
const leaseMargin = 5 * time.Second

// Parts are what the service is made of.
type Parts struct {
	Logger  *slog.Logger
	Kafka   *kafka.Client // its transport is shared by all of the service
	Dialer  *kafka.Dialer // of the consumer group's own connections
	Redis   redis.UniversalClient
	Store   *dedupe.Store
	CRM     *crmapi.Client
	Token   crmapi.TokenSource
	Mapping *Mapping
	Hashes  *Hashes // lookups of the mapping that Redis holds; nil: there are none
	Letters *dlq.Writer
	Archive *dlq.Reader
	Audit   *dlq.Auditor
	// EditDigest is that of edited values, under the state key; nil: there is no key.
	EditDigest dlq.ValueDigest

	close []func()
}

// Env is what parts take from the process.
type Env struct {
	Log      io.Writer                    // where log lines go
	ReadFile func(string) ([]byte, error) // reads certificates, keys, the mapping and its tables
	// Service keeps token fetches apart from those of other instances, by a lock in
	// Redis. A command that must change nothing goes without.
	Service bool
}

// Build makes the parts. Its error joins every fault, none of which holds a secret.
func Build(cfg config.Config, env Env) (*Parts, error) {
	p := &Parts{Logger: Logger(cfg.Log, env.Log), EditDigest: dlq.NewValueDigest(cfg.State.KeyBytes())}
	err := errors.Join(
		p.addMapping(cfg, env.ReadFile),
		p.addKafka(cfg, env.ReadFile),
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

// Logger makes the logger.
func Logger(cfg config.Log, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level, ReplaceAttr: readable}
	if cfg.Format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
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

func (p *Parts) addRedis(cfg config.Config) error {
	client, err := dedupe.Open(dedupe.ClientConfig{
		URL:         cfg.Redis.URL.String(),
		Mode:        dedupe.Mode(cfg.Redis.Mode),
		Username:    cfg.Redis.Username,
		Password:    cfg.Redis.Password.Reveal(),
		Concurrency: cfg.CRM.Concurrency,
	})
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	p.Redis = client
	p.close = append(p.close, func() { _ = client.Close() })
	options := dedupe.Options{
		Prefix:  cfg.Redis.Prefix,
		Scope:   cfg.CRM.BaseURL + " " + cfg.CRM.CorpID,
		DoneTTL: cfg.State.DoneTTL,
		Lease:   Lease(cfg),
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

func (p *Parts) addCRM(cfg config.Config, service bool) error {
	base, err := url.Parse(cfg.CRM.BaseURL)
	if err != nil {
		return errors.New("crm: the base URL is none")
	}
	if err := p.addToken(cfg.CRM, base, service); err != nil {
		return err
	}
	object, err := Object(cfg.CRM, p.Mapping)
	if err != nil {
		return err
	}
	p.CRM, err = crmapi.New(crmapi.Config{
		BaseURL:  base,
		Path:     cfg.CRM.Path,
		Object:   object,
		CorpID:   cfg.CRM.CorpID,
		Timeout:  cfg.CRM.Timeout,
		Token:    p.Token,
		Codes:    cfg.CRM.ErrorCodes,
		MaxConns: cfg.CRM.Concurrency,
	})
	if err == nil {
		p.close = append(p.close, p.CRM.Close)
	}
	return err
}

func (p *Parts) addToken(cfg config.CRM, base *url.URL, service bool) error {
	if cfg.Token.IsSet() {
		p.Token = crmapi.FixedToken(cfg.Token.Reveal())
		return nil
	}
	var lock crmapi.Locker
	if service && p.Store != nil {
		lock = p.Store.NewLock("token").WithLimit(tokenFetches, time.Minute)
	}
	fetched, err := crmapi.NewFetchedToken(crmapi.TokenConfig{
		BaseURL:       base,
		AppID:         cfg.AppID,
		AppSecret:     cfg.AppSecret.Reveal(),
		PermanentCode: cfg.PermanentCode.Reveal(),
		CorpID:        cfg.CorpID,
		Timeout:       cfg.Timeout,
		Codes:         cfg.ErrorCodes,
		Log:           p.Logger,
		Lock:          lock,
	})
	if err != nil {
		return err
	}
	p.Token = fetched
	p.close = append(p.close, fetched.Close)
	return nil
}
