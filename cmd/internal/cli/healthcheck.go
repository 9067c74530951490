package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/interrupt"
	"membersync/cmd/internal/texts"
)

// healthTimeout bounds the answer of the instance.
const healthTimeout = 3 * time.Second

// maxHealthAnswer is how much of an answer is read, in bytes.
const maxHealthAnswer = 1 << 10

var (
	errHealthTimeout = errors.New("no answer within 3s")
	errNoAdmin       = errors.New("the instance has no admin server: MEMBERSYNC_ADMIN_ADDR is empty")
)

// The json form of healthcheck.
type healthJSON struct {
	Live    bool   `json:"live"`
	Address string `json:"address"`
	Detail  string `json:"detail"` // what was answered, or why nothing was
}

func askHealth(ctx context.Context, in *invocation) int {
	// Warnings are those of every other command: a check that runs every few seconds leaves them
	// out.
	cfg, _, err := config.LoadAdmin(in.settings, in.Environ, in.ReadFile)
	if in.refuse(err) {
		return exitUsage
	}
	report := healthJSON{Live: true, Address: reachable(cfg.Admin.Addr)}
	report.Detail, err = askLive(ctx, report.Address)
	if interrupt.Ended(ctx) {
		return exitInterrupted
	}
	if err != nil {
		report.Live, report.Detail = false, err.Error()
	}
	status := exitDone
	switch {
	case in.output == outputJSON:
		status = in.printJSON(report)
	case report.Live:
		in.print("live\n")
	default:
		in.complain("not live: " + report.Detail)
	}
	if !report.Live {
		return exitFailed
	}
	return status
}

// reachable is the address at which a server on this machine that listens at addr is reached.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}

// askLive returns the answer of /livez, or why there is no good one.
func askLive(ctx context.Context, addr string) (string, error) {
	if addr == "" {
		return "", errNoAdmin
	}
	ctx, cancel := context.WithTimeoutCause(ctx, healthTimeout, errHealthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/livez", http.NoBody)
	if err != nil {
		return "", err
	}
	// Without the proxy of the environment: it could not reach this machine's loopback.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err == nil {
		defer func() { _ = answer.Body.Close() }()
		var body []byte
		if body, err = io.ReadAll(io.LimitReader(answer.Body, maxHealthAnswer)); err == nil {
			text := strings.TrimSpace(string(body))
			if answer.StatusCode == http.StatusOK {
				return text, nil
			}
			err = &notLiveError{answer.StatusCode, text}
		}
	}
	return "", fmt.Errorf("%s: %w", addr, plainCause(ctx, err))
}

// plainCause leaves out what the standard library repeats of the request.
func plainCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if asked, ok := errors.AsType[*url.Error](err); ok {
		err = asked.Err
	}
	if dialed, ok := errors.AsType[*net.OpError](err); ok {
		err = dialed.Err
	}
	return err
}

// A notLiveError is an answer other than that of a live instance.
type notLiveError struct {
	status int
	text   string
}

// Error returns the status and the text of the answer.
func (e *notLiveError) Error() string {
	return fmt.Sprintf("HTTP %d, want 200: %s", e.status, texts.Quoted(e.text))
}
