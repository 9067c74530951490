package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const adminLimit = 5 * time.Second

// An Admin is the host:port of an admin server.
type Admin string

// Get sends a GET request.
func (a Admin) Get(ctx context.Context, path string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, adminLimit, errLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+string(a)+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// Ready returns the result of /readyz: whether the instance is ready, and the text, which during a
// pause is its cause.
func (a Admin) Ready(ctx context.Context) (ready bool, text string, err error) {
	status, body, err := a.Get(ctx, "/readyz")
	return status == http.StatusOK, strings.TrimSpace(body), err
}

// AwaitReady waits until the instance has joined the group.
func (a Admin) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, opLimit, errLimit)
	defer cancel()
	return retryUntil(ctx, "an instance to be ready", func(ctx context.Context) (bool, error) {
		ready, text, err := a.Ready(ctx)
		if err == nil && !ready {
			err = errors.New(text)
		}
		return ready, err
	})
}

// Metrics holds the values of /metrics by series: the name and the labels as in the text.
type Metrics map[string]float64

// Metrics requests /metrics.
func (a Admin) Metrics(ctx context.Context) (Metrics, error) {
	_, body, err := a.Get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	return ParseMetrics(body)
}

// ParseMetrics reads Prometheus' text format.
func ParseMetrics(text string) (Metrics, error) {
	m := make(Metrics)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if at <= 0 || err != nil {
			return nil, fmt.Errorf("testbed: invalid line of metrics %q", line)
		}
		m[line[:at]] = value
	}
	return m, nil
}

// Sum adds up the series of a metric that have all these labels. A label is written name="value".
func (m Metrics) Sum(metric string, labels ...string) (sum float64) {
	for series, value := range m {
		name, rest, _ := strings.Cut(series, "{")
		if name == metric && hasAll(rest, labels) {
			sum += value
		}
	}
	return sum
}

func hasAll(rest string, labels []string) bool {
	rest = "," + strings.TrimSuffix(rest, "}") + ","
	for _, label := range labels {
		if !strings.Contains(rest, ","+label+",") {
			return false
		}
	}
	return true
}
