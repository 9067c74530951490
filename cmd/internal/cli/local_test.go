package cli

import (
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"membersync/cmd/internal/admin"
	"membersync/cmd/internal/times"
)

// serveBoard serves a board at an address, and returns that.
func serveBoard(t *testing.T, b *board, addr string) string {
	t.Helper()
	server, err := admin.Start(t.Context(), addr, admin.Handler(b, prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return server.Addr()
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	live := serveBoard(t, &board{waiting: "kafka"}, "127.0.0.1:0") // not ready
	stuck := &board{}
	stuck.hand(&fakeService{})
	notLive := serveBoard(t, stuck, "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(live)
	closed := closedAddress(t)
	for name, tc := range map[string]struct {
		addr           string
		args           []string
		status         int
		stdout, stderr string
	}{
		"live":           {live, nil, exitDone, "live\n", ""},
		"all interfaces": {":" + port, nil, exitDone, "live\n", ""},
		"IPv4":           {"0.0.0.0:" + port, []string{"-o=json"}, exitDone, `{"live":true,"address":"127.0.0.1:` + port + `","detail":"ok"}` + "\n", ""},
		"a flag":         {closed, []string{"--admin-addr", live}, exitDone, "live\n", ""},
		"not live":       {notLive, nil, exitFailed, "", "membersync healthcheck: not live: " + notLive + ": HTTP 503, want 200: stuck\n"},
		"as JSON": {
			notLive, []string{"-o=json"}, exitFailed, `{"live":false,"address":"` + notLive + `","detail":"` + notLive + `: HTTP 503, want 200: stuck"}` + "\n", "",
		},
		"nothing there": {closed, nil, exitFailed, "", "membersync healthcheck: not live: " + closed + ": connect: connection refused\n"},
		"no server":     {"", nil, exitFailed, "", "membersync healthcheck: not live: the instance has no admin server: MEMBERSYNC_ADMIN_ADDR is empty\n"},
		"a bad address": {"nowhere", nil, exitUsage, "", "membersync healthcheck: MEMBERSYNC_ADMIN_ADDR: \"nowhere\" should be host:port or :port\n"},
		"an argument":   {live, []string{"now"}, exitUsage, "", "membersync healthcheck: 1 argument given, none allowed\n"},
	} {
		r := newRig()
		r.set("ADMIN_ADDR", tc.addr)
		r.set("CRM_RATE", "of no interest here")
		if status := r.run(t, append([]string{"healthcheck"}, tc.args...)...); status != tc.status {
			t.Errorf("%s: status %d", name, status)
		}
		if d := cmp.Diff([]string{tc.stdout, tc.stderr}, []string{r.out.String(), r.errs.String()}); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// closedAddress is one at which nothing listens.
func closedAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

// An instance that takes the connection and is silent is not live.
func TestHealthcheckOfASilentInstance(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	r := newRig()
	r.set("ADMIN_ADDR", listener.Addr().String())
	if status := r.run(t, "healthcheck"); status != exitFailed || !strings.HasSuffix(r.errs.String(), ": no answer within 3s\n") {
		t.Errorf("status %d: %s", status, r.errs)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	r := newRig()
	r.files["m.yaml"] = "crm: {base_url: 'https://crm', corp_id: C1}\n"
	r.set("CRM_TOKEN", "hushhush")
	r.set("KAFKA_TOPICS", "hushhush")
	if status := r.run(t, "config", "--config=m.yaml", "--kafka-group=g", "-o", "json"); status != exitDone {
		t.Errorf("status %d: %s", status, r.errs)
	}
	r.want(t, r.out.String(), "membersync config: warning: MEMBERSYNC_KAFKA_TOPICS: unknown setting; did you mean MEMBERSYNC_KAFKA_TOPIC?\n")
	got := map[any]map[string]any{}
	for _, one := range objects(t, r.out.String()) {
		got[one["name"]] = one
	}
	for _, want := range []map[string]any{
		{"name": "kafka.group", "value": "g", "source": "flag", "where": "--kafka-group"},
		{"name": "crm.corp_id", "value": "C1", "source": "yaml", "where": "m.yaml line 1"},
		{"name": "crm.token", "value": "***", "source": "environment", "where": "MEMBERSYNC_CRM_TOKEN"},
		{"name": "crm.timeout", "value": "10s", "source": "default", "where": ""},
	} {
		if d := cmp.Diff(want, got[want["name"]]); d != "" {
			t.Error(d)
		}
	}
}

// What is wrong is reported after the table, and nothing of it is hidden.
func TestAWrongConfigIsShown(t *testing.T) {
	t.Parallel()
	r := newRig()
	r.set("CRM_TIMEOUT", "soon")
	if status := r.run(t, "config"); status != exitUsage {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(r.out.String(), "soon") || !strings.Contains(r.errs.String(), `MEMBERSYNC_CRM_TIMEOUT: "soon" should be a duration`) {
		t.Errorf("%s%s", r.out, r.errs)
	}
}

// What a table prints as an age can be given as a time.
func TestAnAgeIsATime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for _, d := range []time.Duration{
		0, 3 * time.Second, 5 * time.Minute, 90 * time.Minute, 2 * time.Hour, 47 * time.Hour, 48 * time.Hour, 76 * time.Hour, 2000 * time.Hour,
	} {
		printed := age(now.Add(-d), now)
		if at, ok := times.Parse(printed, now); !ok || !at.Equal(now.Add(-d)) {
			t.Errorf("%v is printed as %q, which is read as %v, %v", d, printed, at, ok)
		}
	}
}
