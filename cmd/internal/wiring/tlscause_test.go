package wiring_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/wiring"
	"membersync/cmd/internal/wiring/credentials/certtest"
)

// The alert of a server that requires a client certificate is found, although the connection on
// which it was sent is gone.
func TestTLSCause(t *testing.T) {
	t.Parallel()
	ca := certtest.NewAuthority(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", ca.Issue(t).Server(t, ca))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn); _ = conn.Close() }()
		}
	}()
	files := func(string) ([]byte, error) { return ca.PEM, nil }
	cfg, _, err := config.Load([]string{
		"--crm-base-url=https://" + listener.Addr().String(), "--crm-corp-id=C1", "--crm-tls-ca-file=ca",
	}, []string{"MEMBERSYNC_CRM_TOKEN=token"}, files)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := wiring.Build(cfg, wiring.Env{Log: io.Discard, ReadFile: files})
	if err != nil {
		t.Fatal(err)
	}
	defer parts.Close()
	closed := fmt.Errorf("probe: %w", &net.OpError{Op: "write", Err: syscall.EPIPE})
	if got := parts.TLSCause(t.Context(), cfg, "crm", closed); !strings.Contains(got.Error(), "certificate required") {
		t.Errorf("%v", got)
	}
	if got := parts.TLSCause(t.Context(), cfg, "redis", closed); got != closed { //nolint:errorlint // the same
		t.Errorf("without TLS: %v", got)
	}
	other := fmt.Errorf("probe: %w", io.ErrNoProgress)
	if got := parts.TLSCause(t.Context(), cfg, "crm", other); got != other { //nolint:errorlint // the same
		t.Errorf("another error: %v", got)
	}
}
