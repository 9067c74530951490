package wiring

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"membersync/cmd/internal/config"
	"membersync/dlq"
)

const (
	clientID    = "membersync"
	dialTimeout = 5 * time.Second
)

// Topics names the source topic and membersync's own.
func Topics(cfg config.Config) dlq.Topics {
	return dlq.Topics{Source: cfg.Kafka.Topic, DLQ: cfg.DLQ.Topic, Redrive: cfg.DLQ.RedriveTopic, Audit: cfg.Audit.Topic}
}

// addKafka sets TLS and SASL twice, since the group's connections are made by the
// dialer and all others by the transport.
func (p *Parts) addKafka(cfg config.Config, readFile func(string) ([]byte, error)) error {
	encryption, err := tlsConfig(cfg.Kafka, readFile)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	mechanism, err := saslMechanism(cfg.Kafka)
	if err != nil {
		return errors.New("kafka: the SASL user or password has a character that SCRAM does not allow")
	}
	topics := Topics(cfg)
	transport := &kafka.Transport{
		ClientID:       clientID,
		DialTimeout:    dialTimeout,
		TLS:            encryption,
		SASL:           mechanism,
		MetadataTopics: []string{topics.Source, topics.DLQ, topics.Redrive, topics.Audit},
	}
	p.close = append(p.close, transport.CloseIdleConnections)
	p.Kafka = &kafka.Client{Addr: kafka.TCP(cfg.Kafka.Brokers...), Transport: transport}
	p.Dialer = &kafka.Dialer{ClientID: clientID, Timeout: dialTimeout, TLS: encryption, SASLMechanism: mechanism}
	p.Letters, p.Archive, p.Audit = dlq.NewWriter(p.Kafka, topics.DLQ), dlq.NewReader(p.Kafka, topics), dlq.NewAuditor(p.Kafka, topics.Audit)
	return nil
}

func tlsConfig(cfg config.Kafka, readFile func(string) ([]byte, error)) (*tls.Config, error) {
	if !cfg.TLS {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.TLSCAFile != "" {
		pem, err := readFile(cfg.TLSCAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", cfg.TLSCAFile)
		}
	}
	if cfg.TLSCertFile == "" {
		return c, nil
	}
	pair, err := keyPair(cfg, readFile)
	c.Certificates = []tls.Certificate{pair}
	return c, err
}

func keyPair(cfg config.Kafka, readFile func(string) ([]byte, error)) (tls.Certificate, error) {
	cert, err := readFile(cfg.TLSCertFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readFile(cfg.TLSKeyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s and %s: %w", cfg.TLSCertFile, cfg.TLSKeyFile, err)
	}
	return pair, nil
}

func saslMechanism(cfg config.Kafka) (sasl.Mechanism, error) {
	user, password := cfg.SASLUsername, cfg.SASLPassword.Reveal()
	switch cfg.SASLMechanism {
	case "PLAIN":
		return plain.Mechanism{Username: user, Password: password}, nil
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, user, password)
	case "SCRAM-SHA-512":
		return scram.Mechanism(scram.SHA512, user, password)
	default:
		return nil, nil
	}
}
