package wiring

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/wiring/credentials"
	"membersync/dlq"
)

const (
	clientID       = "membersync"
	dialTimeout    = 5 * time.Second // of a connection with TLS and SASL
	connectTimeout = 3 * time.Second // of TCP and TLS: leaves time for another broker
	kafkaPrefix    = "MEMBERSYNC_KAFKA_"
)

// Topics names the source topic and membersync's own.
func Topics(cfg config.Config) dlq.Topics {
	return dlq.Topics{Source: cfg.Kafka.Topic, DLQ: cfg.DLQ.Topic, Redrive: cfg.DLQ.RedriveTopic, Audit: cfg.Audit.Topic}
}

// addKafka sets TLS and SASL twice, since the group's connections are made by the dialer and all
// others by the transport. Both make the TLS handshake in the dial function, so that each
// connection has the certificates of its moment.
//
// A broker closes a connection whose access token has expired (KIP-368), and kafka-go cannot log in
// again on an open one. So the transport's connections are closed when the token is due for
// renewal, after the requests in flight; the next requests open new ones. The group's connection is
// closed by the broker: the member then joins again, under its own id.
func (p *Parts) addKafka(cfg config.Config) error {
	topics := Topics(cfg)
	transport := &kafka.Transport{
		ClientID:       clientID,
		DialTimeout:    dialTimeout,
		MetadataTopics: []string{topics.Source, topics.DLQ, topics.Redrive, topics.Audit},
	}
	p.close = append(p.close, transport.CloseIdleConnections)
	var err error
	if transport.Dial, err = p.kafkaDial(cfg.Kafka); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	if transport.SASL, err = p.saslMechanism(cfg.Kafka, transport.CloseIdleConnections); err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	p.Kafka = &kafka.Client{Addr: kafka.TCP(cfg.Kafka.Brokers...), Transport: transport}
	p.Dialer = &kafka.Dialer{ClientID: clientID, Timeout: dialTimeout, DialFunc: transport.Dial, SASLMechanism: transport.SASL}
	p.DeadLetters, p.Archive, p.Audit = dlq.NewWriter(p.Kafka, topics.DLQ), dlq.NewReader(p.Kafka, topics), dlq.NewAuditor(p.Kafka, topics.Audit)
	return nil
}

// A dialFunc opens a connection to a broker.
type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// kafkaDial returns nil without TLS: the library's own function.
func (p *Parts) kafkaDial(cfg config.Kafka) (dialFunc, error) {
	if !cfg.TLS {
		return nil, nil
	}
	encryption, err := credentials.TLS(p.files, tlsFiles(kafkaPrefix, cfg.TLSCAFile, cfg.TLSCertFile, cfg.TLSKeyFile, cfg.TLSServerName))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: connectTimeout}, Config: encryption()}
		return dialer.DialContext(ctx, network, addr)
	}, nil
}
