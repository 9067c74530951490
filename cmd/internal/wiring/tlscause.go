package wiring

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/url"
	"syscall"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/wiring/credentials"
)

// TLSCause returns why kafka, redis or the crm closed a TLS connection, if err says only that it
// did. A server that refuses the client's certificate sends an alert after the handshake, and the
// alert is lost if the client has written something by then. So this connects again and only reads.
// It returns err where nothing more is found.
func (p *Parts) TLSCause(ctx context.Context, cfg config.Config, server string, err error) error {
	if !isClosed(err) {
		return err
	}
	addresses, files, on := tlsOf(cfg, server)
	if !on {
		return err
	}
	encryption, setupErr := credentials.TLS(p.files, files)
	if setupErr != nil {
		return err
	}
	for _, address := range addresses {
		if cause := readAlert(ctx, address, encryption()); cause != nil {
			return cause
		}
	}
	return err
}

var errNoAlert = errors.New("no alert in time")

func isClosed(err error) bool {
	for _, closed := range []error{syscall.EPIPE, syscall.ECONNRESET, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, closed) {
			return true
		}
	}
	return false
}

// tlsOf returns the addresses of a server and the files of its TLS. Not on: it is without TLS, or
// is reached through a proxy.
func tlsOf(cfg config.Config, server string) (addresses []string, files credentials.TLSFiles, on bool) {
	k, r, c := cfg.Kafka, cfg.Redis, cfg.CRM
	switch server {
	case "kafka":
		return k.Brokers, tlsFiles(kafkaPrefix, k.TLSCAFile, k.TLSCertFile, k.TLSKeyFile, k.TLSServerName), k.TLS
	case "redis":
		return r.URL.Addrs, tlsFiles("MEMBERSYNC_REDIS_", r.TLSCAFile, r.TLSCertFile, r.TLSKeyFile, r.TLSServerName), r.URL.TLS
	}
	base, err := url.Parse(c.BaseURL)
	if err != nil {
		return nil, files, false
	}
	address := base.Host
	if base.Port() == "" {
		address += ":443"
	}
	return []string{address}, tlsFiles(crmPrefix, c.TLSCAFile, c.TLSCertFile, c.TLSKeyFile, c.TLSServerName),
		base.Scheme == "https" && c.ProxyURL() == nil
}

// readAlert connects, and returns the error of the handshake or the alert that the server sends
// after it; nil: there is none.
func readAlert(ctx context.Context, address string, encryption *tls.Config) error {
	ctx, cancel := context.WithTimeoutCause(ctx, connectTimeout, errNoAlert)
	defer cancel()
	conn, err := (&tls.Dialer{Config: encryption}).DialContext(ctx, "tcp", address)
	switch {
	case err != nil && isTimeout(err):
		return nil
	case err != nil:
		return err
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return nil
	}
	if _, err = conn.Read(make([]byte, 1)); err == nil || isClosed(err) || isTimeout(err) {
		return nil
	}
	return err
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout()
}
