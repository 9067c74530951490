package wiring

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/wiring/credentials"
)

var (
	errSCRAM  = errors.New("the SASL user or password has a character that SCRAM does not allow")
	errBearer = errors.New("the broker refused the access token")
)

// A passwordMechanism logs in with the password of the moment. It is safe for concurrent use.
type passwordMechanism struct {
	name    string
	current func() (sasl.Mechanism, error)
}

// Name implements sasl.Mechanism.
func (m passwordMechanism) Name() string { return m.name }

// Start implements sasl.Mechanism.
func (m passwordMechanism) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	mechanism, err := m.current()
	if err != nil {
		return nil, nil, err
	}
	return mechanism.Start(ctx)
}

// newPasswordMechanism fails if SCRAM does not allow the user or the password of the start.
func newPasswordMechanism(name, user string, password func() string) (sasl.Mechanism, error) {
	current := func() (sasl.Mechanism, error) {
		var mechanism sasl.Mechanism
		var err error
		switch name {
		case "SCRAM-SHA-256":
			mechanism, err = scram.Mechanism(scram.SHA256, user, password())
		case "SCRAM-SHA-512":
			mechanism, err = scram.Mechanism(scram.SHA512, user, password())
		default:
			mechanism = plain.Mechanism{Username: user, Password: password()}
		}
		if err != nil {
			return nil, errSCRAM // its own text quotes the password
		}
		return mechanism, nil
	}
	if _, err := current(); err != nil {
		return nil, err
	}
	return passwordMechanism{name, current}, nil
}

// A bearerMechanism logs in with an access token (KIP-255, KIP-768). It is safe for concurrent use.
type bearerMechanism struct{ tokens *credentials.Tokens }

// Name implements sasl.Mechanism.
func (bearerMechanism) Name() string { return "OAUTHBEARER" }

// Start implements sasl.Mechanism. The first message is that of RFC 7628, section 3.1: without a
// channel binding and an authorization identity.
func (m bearerMechanism) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	token, err := m.tokens.Token(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("MEMBERSYNC_KAFKA_SASL_TOKEN_URL: %w", err)
	}
	return &bearerSession{m.tokens, token, false}, []byte("n,,\x01auth=Bearer " + token + "\x01\x01"), nil
}

// A bearerSession is one login.
type bearerSession struct {
	tokens  *credentials.Tokens
	token   string
	refused bool
}

// Next implements sasl.StateMachine. The broker accepts a token with an empty message. It refuses
// one with a message that says why, which is not shown, since the broker may quote the token. The
// client acknowledges that with a single \x01 (RFC 7628, section 3.2.3), and the broker ends the
// login with an error code.
func (s *bearerSession) Next(ctx context.Context, challenge []byte) (done bool, response []byte, err error) {
	switch {
	case s.refused:
		return false, nil, errBearer
	case len(challenge) > 0:
		s.refused = true
		s.tokens.Invalidate(ctx, s.token)
		return false, []byte{1}, nil
	default:
		return true, nil, nil
	}
}

// saslMechanism returns nil if there is no SASL. It calls renew when connections should be opened
// again because the access token is due for renewal.
func (p *Parts) saslMechanism(cfg config.Kafka, renew func()) (sasl.Mechanism, error) {
	switch cfg.SASLMechanism {
	case "":
		return nil, nil
	case "OAUTHBEARER":
		return p.bearerMechanism(cfg, renew)
	}
	password, err := p.secret("MEMBERSYNC_KAFKA_SASL_PASSWORD_FILE", cfg.SASLPassword)
	if err != nil {
		return nil, err
	}
	return newPasswordMechanism(cfg.SASLMechanism, cfg.SASLUsername, password)
}

func (p *Parts) bearerMechanism(cfg config.Kafka, renew func()) (sasl.Mechanism, error) {
	secret, err := p.secret("MEMBERSYNC_KAFKA_SASL_CLIENT_SECRET_FILE", cfg.SASLClientSecret)
	if err != nil {
		return nil, err
	}
	encryption, err := credentials.TLS(p.files, credentials.TLSFiles{
		CA: credentials.File{Setting: kafkaPrefix + "TLS_CA_FILE", Path: cfg.TLSCAFile}, AndSystem: true,
	})
	if err != nil {
		return nil, err
	}
	tokens := credentials.NewTokens(credentials.TokenConfig{
		URL: cfg.SASLTokenURL, ClientID: cfg.SASLClientID, Secret: secret,
		HTTP: credentials.TokenClient(encryption), Log: p.Logger, Renew: renew,
	})
	p.close = append(p.close, tokens.Close)
	return bearerMechanism{tokens}, nil
}
