package wiring

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"time"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/wiring/credentials"
	"membersync/crmapi"
)

const crmPrefix = "MEMBERSYNC_CRM_"

// tokenFetches is how often all instances together fetch an access token in a minute, failed
// fetches included. The vendor allows ten, and `check` fetches one of its own.
const tokenFetches = 9

// A crmConn is what the client of the CRM and the source of its tokens connect with.
type crmConn struct {
	base  *url.URL
	tls   func() *tls.Config
	proxy *url.URL
}

func (p *Parts) crmConn(cfg config.CRM) (crmConn, error) {
	base, err := url.Parse(cfg.BaseURL)
	if err != nil {
		return crmConn{}, errors.New("the base URL is invalid")
	}
	encryption, err := credentials.TLS(p.files, tlsFiles(crmPrefix, cfg.TLSCAFile, cfg.TLSCertFile, cfg.TLSKeyFile, cfg.TLSServerName))
	return crmConn{base, encryption, cfg.ProxyURL()}, err
}

func (p *Parts) addCRM(cfg config.Config, service bool) error {
	conn, err := p.crmConn(cfg.CRM)
	if err != nil {
		return fmt.Errorf("crm: %w", err)
	}
	if err := p.addToken(cfg.CRM, conn, service); err != nil {
		return fmt.Errorf("crm: %w", err)
	}
	object, err := Object(cfg.CRM, p.Mapping)
	if err != nil {
		return err
	}
	p.CRM, err = crmapi.New(crmapi.Config{
		BaseURL:  conn.base,
		Path:     cfg.CRM.Path,
		Object:   object,
		CorpID:   cfg.CRM.CorpID,
		Timeout:  cfg.CRM.Timeout,
		Token:    p.Token,
		Codes:    cfg.CRM.ErrorCodes,
		MaxConns: cfg.CRM.Concurrency,
		TLS:      conn.tls,
		Proxy:    conn.proxy,
		Inject:   p.Traces.Inject(),
	})
	if err == nil {
		p.close = append(p.close, p.CRM.Close)
	}
	return err
}

func (p *Parts) addToken(cfg config.CRM, conn crmConn, service bool) error {
	if cfg.Token.IsSet() {
		return p.addFixedToken(cfg.Token)
	}
	secret, err := p.secret(crmPrefix+"APP_SECRET_FILE", cfg.AppSecret)
	if err != nil {
		return err
	}
	code, err := p.secret(crmPrefix+"PERMANENT_CODE_FILE", cfg.PermanentCode)
	if err != nil {
		return err
	}
	var lock crmapi.Locker
	if service && p.Store != nil {
		lock = p.Store.NewLock("token").WithLimit(tokenFetches, time.Minute)
	}
	fetched, err := crmapi.NewFetchedToken(crmapi.TokenConfig{
		BaseURL:       conn.base,
		AppID:         cfg.AppID,
		AppSecret:     cfg.AppSecret.Reveal(),
		PermanentCode: cfg.PermanentCode.Reveal(),
		Secrets:       func() (appSecret, permanentCode string) { return secret(), code() },
		CorpID:        cfg.CorpID,
		Timeout:       cfg.Timeout,
		Codes:         cfg.ErrorCodes,
		Log:           p.Logger,
		Lock:          lock,
		TLS:           conn.tls,
		Proxy:         conn.proxy,
	})
	if err != nil {
		return err
	}
	p.Token = fetched
	p.close = append(p.close, fetched.Close)
	return nil
}

// addFixedToken makes a token whose file is replaced take effect for the next call.
func (p *Parts) addFixedToken(token config.Secret) error {
	if token.Path() == "" {
		p.Token = crmapi.FixedToken(token.Reveal())
		return nil
	}
	current, err := p.secret(crmPrefix+"TOKEN_FILE", token)
	if err != nil {
		return err
	}
	p.Token = crmapi.ReplaceableToken(current)
	return nil
}
