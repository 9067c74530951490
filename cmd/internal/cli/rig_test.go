package cli

import (
	"bytes"
	"context"
	"flag"
	"io/fs"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"membersync/crmapi/crmapitest"
	"membersync/dlq/kafkatest"
)

// asProgram in the environment makes the test the program itself.
const asProgram = "CLI_TEST_AS_PROGRAM"

// These tests wait most of their time, so many run at once even on few processors.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		status := Run(context.Background(), os.Args[1:], Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, ReadFile: os.ReadFile})
		os.Exit(status) //nolint:forbidigo // it stands in for main
	}
	_ = flag.Set("test.parallel", "8") // the command line's goes before it
	goleak.VerifyTestMain(m)
}

// A rig is a program with its surroundings.
type rig struct {
	app    *app
	out    *output
	errs   *output
	files  map[string]string
	broker *kafkatest.Broker
	redis  *miniredis.Miniredis
	crm    *crmapitest.Server
}

// An output can be read while it is written.
type output struct {
	mu      sync.Mutex
	buffer  bytes.Buffer
	changed chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

// await waits until the output has a text.
func (o *output) await(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(o.String(), text) {
		select {
		case <-o.changed:
		case <-t.Context().Done():
			t.Fatalf("%q lacks %q", o.String(), text)
		}
	}
}

func newRig() *rig {
	r := &rig{
		out: &output{changed: make(chan struct{}, 1)}, errs: &output{changed: make(chan struct{}, 1)},
		files: map[string]string{},
	}
	r.app = &app{serve: serve, Env: Env{
		Stdin: strings.NewReader(""), Stdout: r.out, Stderr: r.errs, Version: "1.2.3",
		ReadFile: func(path string) ([]byte, error) {
			text, ok := r.files[path]
			if !ok {
				return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
			}
			return []byte(text), nil
		},
	}}
	return r
}

// newService is a rig with all that the service needs, configured.
func newService(t *testing.T) *rig {
	t.Helper()
	return newServiceOn(t, kafkatest.Start(t))
}

func newServiceOn(t *testing.T, broker *kafkatest.Broker) *rig {
	t.Helper()
	r := newRig()
	r.broker = broker
	r.crm = crmapitest.New(crmapitest.Options{
		CorpID: "C1", Tokens: []string{"hushhush"}, AppID: "A1", AppSecret: "hushhush", PermanentCode: "hushhush", AutoCreate: true,
	})
	crm := httptest.NewServer(r.crm)
	t.Cleanup(crm.Close)
	r.redis = miniredis.RunT(t)
	r.tellPolicy("noeviction")
	r.set("KAFKA_BROKERS", strings.Join(r.broker.Addrs(), ","))
	r.set("KAFKA_TOPIC", r.broker.Topic(t, 3, nil))
	r.set("KAFKA_GROUP", r.broker.Group(t))
	r.set("REDIS_URL", "redis://"+r.redis.Addr())
	r.set("CRM_BASE_URL", crm.URL)
	r.set("CRM_CORP_ID", "C1")
	r.set("CRM_TOKEN", "hushhush")
	r.set("ADMIN_ADDR", "127.0.0.1:0")
	return r
}

func (r *rig) client(t *testing.T) *kafka.Client {
	t.Helper()
	return r.broker.ClientLooking(t, 2*time.Second)
}

// tellPolicy lets Redis tell its maxmemory-policy; miniredis by itself does not.
func (r *rig) tellPolicy(policy string) {
	r.redis.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
		if cmd != "INFO" || policy == "" {
			return false
		}
		c.WriteBulk("maxmemory_policy:" + policy + "\r\n")
		return true
	})
}

// set sets a variable, in place of an earlier value.
func (r *rig) set(name, value string) {
	r.unset(name)
	r.app.Environ = append(r.app.Environ, "MEMBERSYNC_"+name+"="+value)
}

func (r *rig) unset(name string) {
	var kept []string
	for _, v := range r.app.Environ {
		if !strings.HasPrefix(v, "MEMBERSYNC_"+name+"=") {
			kept = append(kept, v)
		}
	}
	r.app.Environ = kept
}

func (r *rig) run(t *testing.T, args ...string) int {
	t.Helper()
	status := r.app.run(t.Context(), args)
	if all := r.out.String() + r.errs.String(); strings.Contains(all, "hushhush") {
		t.Errorf("a secret is printed: %s", all)
	}
	return status
}

// want compares the result and what stderr begins with.
func (r *rig) want(t *testing.T, stdout, stderr string) {
	t.Helper()
	if d := cmp.Diff(stdout, r.out.String()); d != "" {
		t.Errorf("stdout: %s", d)
	}
	if d := cmp.Diff(stderr, r.errs.String()); d != "" {
		t.Errorf("stderr: %s", d)
	}
}
