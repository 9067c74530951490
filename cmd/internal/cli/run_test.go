package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/cmd/internal/interrupt"
	"membersync/dedupe/dedupetest"
	"membersync/dlq/kafkatest"
)

// A fakeService stands in for the consumer: it is ready, and runs until stopped.
type fakeService struct{ stopErr error }

func (*fakeService) Ready() (bool, string) { return true, "paused: crm_outage" }
func (*fakeService) Live() (bool, string)  { return false, "stuck" }

func (f *fakeService) serve(ctx context.Context, r *running) error {
	r.board.hand(f)
	r.parts.Logger.InfoContext(ctx, "serving")
	<-ctx.Done()
	return f.stopErr
}

// background runs the service and returns how to end it and its status.
func (r *rig) background(t *testing.T, args ...string) (end func(cause error), status <-chan int) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan int, 1)
	go func() { done <- r.app.run(ctx, append([]string{"run"}, args...)) }()
	t.Cleanup(func() { cancel(nil) })
	return cancel, done
}

func (r *rig) get(t *testing.T, path string) (int, string) {
	t.Helper()
	r.errs.await(t, "admin server listens")
	addr := regexp.MustCompile(`"addr":"([^"]*)"`).FindStringSubmatch(r.errs.String())[1]
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestRunEnds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cause, stopErr error
		want           int
	}{
		"SIGTERM":               {&interrupt.Error{Signal: syscall.SIGTERM}, nil, exitDone},
		"Ctrl-C":                {&interrupt.Error{Signal: os.Interrupt}, context.Canceled, exitInterrupted},
		"cancelled by a caller": {errors.New("test over"), context.Canceled, exitDone},
		"a failure on the way":  {&interrupt.Error{Signal: syscall.SIGTERM}, errors.New("drain failed"), exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newService(t)
			r.app.serve = (&fakeService{tc.stopErr}).serve
			end, status := r.background(t)
			r.errs.await(t, "serving")
			if code, body := r.get(t, "/readyz"); code != http.StatusOK || body != "paused: crm_outage\n" {
				t.Errorf("readyz: %d %q", code, body)
			}
			if code, body := r.get(t, "/livez"); code != http.StatusServiceUnavailable || body != "stuck\n" {
				t.Errorf("livez: %d %q", code, body)
			}
			if code, body := r.get(t, "/metrics"); code != http.StatusOK || !strings.Contains(body, `membersync_build_info{goversion="go`) {
				t.Errorf("metrics: %d %q", code, body)
			}
			end(tc.cause)
			if got := <-status; got != tc.want {
				t.Errorf("status %d, want %d: %s", got, tc.want, r.errs)
			}
			if strings.Contains(r.errs.String(), "hushhush") {
				t.Error("a secret is logged")
			}
		})
	}
}

// Own topics are there when the service begins.
func TestRunCreatesTopics(t *testing.T) {
	t.Parallel()
	r := newService(t)
	r.app.serve = (&fakeService{}).serve
	end, status := r.background(t)
	r.errs.await(t, "serving")
	end(&interrupt.Error{Signal: syscall.SIGTERM})
	<-status
	r.set("KAFKA_CREATE_TOPICS", "false")
	// A broker hears of a new topic a moment after it was made.
	until(t, "the topics", func() bool { return r.run(t, "check") == exitDone })
}

// refuseLikeKafka answers bad credentials with a code: the fake closes the
// connection, which cannot be told from a broker that goes away.
func refuseLikeKafka(fake *kfake.Cluster) {
	fake.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		res := kmsg.NewPtrSASLAuthenticateResponse()
		res.Version = req.GetVersion()
		res.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return res, nil, true
	})
}

// What is wrong for good ends it with status 2.
func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*testing.T, *rig)
		want   string
	}{
		"no source topic": {func(_ *testing.T, r *rig) { r.set("KAFKA_TOPIC", "gone") }, "gone"},
		"an own topic missing that it may not create": {func(_ *testing.T, r *rig) { r.set("KAFKA_CREATE_TOPICS", "false") }, ".dlq"},
		"redis that evicts":                           {func(_ *testing.T, r *rig) { r.tellPolicy("allkeys-lru") }, "noeviction"},
		"redis password": {func(_ *testing.T, r *rig) {
			r.redis.RequireAuth("hushhush")
			r.set("REDIS_PASSWORD", "hushhush-wrong")
		}, "WRONGPASS"},
		"redis without its password": {func(_ *testing.T, r *rig) { r.redis.RequireAuth("hushhush") }, "NOAUTH"},
		"kafka password": {func(t *testing.T, r *rig) {
			t.Helper()
			broker := kafkatest.StartFake(t, kfake.EnableSASL(), kfake.SeedTopics(1, "in"), kfake.Superuser("PLAIN", "u", "hushhush"))
			refuseLikeKafka(broker.Fake())
			r.set("KAFKA_BROKERS", broker.Addrs()[0])
			r.set("KAFKA_SASL_MECHANISM", "PLAIN")
			r.set("KAFKA_SASL_USERNAME", "u")
			r.set("KAFKA_SASL_PASSWORD", "hushhush-wrong")
		}, "SASL"},
		"admin address taken": {func(t *testing.T, r *rig) {
			t.Helper()
			r.set("ADMIN_ADDR", takenAddress(t))
		}, "MEMBERSYNC_ADMIN_ADDR (or --admin-addr): listen tcp 127.0.0.1:"},
		"mapping": {func(_ *testing.T, r *rig) { r.set("MAPPING", "gone") }, "not built in"},
		"TLS":     {func(_ *testing.T, r *rig) { r.set("KAFKA_TLS", "true"); r.set("KAFKA_TLS_CA_FILE", "gone") }, "MEMBERSYNC_KAFKA_TLS_CA_FILE: cannot read the file that it names"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newService(t)
			tc.change(t, r)
			if status := r.run(t, "run"); status != exitUsage {
				t.Errorf("status %d: %s", status, r.errs)
			}
			if !strings.Contains(r.errs.String(), tc.want) {
				t.Errorf("%q lacks %q", r.errs, tc.want)
			}
		})
	}
}

// takenAddress is one at which the test listens.
func takenAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// The setting of an address that is taken is named.
func TestUIAddressTaken(t *testing.T) {
	t.Parallel()
	r := newService(t)
	if status := r.run(t, "ui", "--ui-addr="+takenAddress(t)); status != exitUsage {
		t.Errorf("status %d", status)
	}
	if got := r.errs.String(); !strings.Contains(got, "MEMBERSYNC_UI_ADDR (or --ui-addr): listen tcp 127.0.0.1:") || !strings.Contains(got, "address already in use") {
		t.Error(got)
	}
}

// What is away is waited for, alive and not ready.
func TestRunWaits(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*testing.T, *rig){
		"kafka": func(t *testing.T, r *rig) { t.Helper(); r.set("KAFKA_BROKERS", noServer) },
		"redis": func(t *testing.T, r *rig) { t.Helper(); r.set("REDIS_URL", "redis://"+noServer) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newService(t)
			change(t, r)
			end, status := r.background(t)
			r.errs.await(t, "start waits")
			if code, body := r.get(t, "/readyz"); code != http.StatusServiceUnavailable || body != "starting: "+what+" is unreachable\n" {
				t.Errorf("readyz: %d %q", code, body)
			}
			if code, _ := r.get(t, "/livez"); code != http.StatusOK {
				t.Errorf("livez: %d", code)
			}
			_, body := r.get(t, "/metrics") // an alert must not take it for an instance that is gone
			for _, series := range []string{`membersync_paused{cause="` + what + `"} 1`, "membersync_crm_calls_in_flight 0", "go_goroutines"} {
				if !strings.Contains(body, "\n"+series) {
					t.Errorf("no %s in\n%s", series, body)
				}
			}
			end(&interrupt.Error{Signal: syscall.SIGTERM})
			if got := <-status; got != exitDone {
				t.Errorf("status %d: %s", got, r.errs)
			}
		})
	}
}

// Redis comes back, and the start goes on by itself.
func TestRunGoesOn(t *testing.T) {
	t.Parallel()
	r := newService(t)
	redis := dedupetest.NewProxy(t, r.redis.Addr())
	redis.Away()
	r.set("REDIS_URL", "redis://"+redis.Addr())
	r.set("LOG_FORMAT", "json")
	r.app.serve = (&fakeService{}).serve
	end, status := r.background(t)
	r.errs.await(t, "start waits")
	redis.Back()
	r.errs.await(t, "serving")
	end(&interrupt.Error{Signal: syscall.SIGTERM})
	<-status
}

// The admin server can be off, and logs take their level and form.
func TestRunLogs(t *testing.T) {
	t.Parallel()
	r := newService(t)
	r.set("ADMIN_ADDR", "")
	r.app.serve = (&fakeService{}).serve
	end, status := r.background(t, "--log-format=text")
	r.errs.await(t, "level=INFO msg=serving\n")
	end(&interrupt.Error{Signal: syscall.SIGTERM})
	<-status
	if strings.Contains(r.errs.String(), "listens") {
		t.Error(r.errs)
	}
}
