package settings_test

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/crmapi/crmapitest"
	"membersync/dlq/kafkatest"
)

// A cutter is a listener whose connections can be closed, all at once.
type cutter struct {
	net.Listener

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

// Accept implements net.Listener.
func (c *cutter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	return conn, nil
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// The service waits while Kafka, Redis and the CRM refuse its secrets, and goes on with those that
// its files hold then. Nothing is lost, and nothing becomes a dead letter.
func TestSecretsChangeWhileItRuns(t *testing.T) {
	t.Parallel()
	s := &settingTest{t, kafkatest.StartFake(t)}
	r := s.rig()
	var secret atomic.Value
	var mu sync.Mutex
	var listeners []*cutter
	broker := kafkatest.StartFake(t, kfake.SeedTopics(1, "in"), kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := new(net.ListenConfig).Listen(t.Context(), network, address)
		c := &cutter{Listener: l}
		mu.Lock()
		defer mu.Unlock()
		listeners = append(listeners, c)
		return c, err
	}))
	login(broker.Fake(), func(message []byte) ([]byte, bool) {
		current, _ := secret.Load().(string)
		return nil, string(message) == "\x00user\x00"+current
	})
	r.use(broker)
	var crm atomic.Pointer[crmapitest.Server]
	r.set("CRM_BASE_URL", servicetest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { crm.Load().ServeHTTP(w, req) })))
	r.set("KAFKA_SASL_MECHANISM", "PLAIN")
	r.set("KAFKA_SASL_USERNAME", "user")
	for _, name := range []string{"KAFKA_SASL_PASSWORD", "REDIS_PASSWORD", "CRM_TOKEN"} {
		r.unset(name)
		r.set(name+"_FILE", name)
	}
	onServers := func(text string) {
		secret.Store(text)
		r.Redis.RequireAuth(text)
		crm.Store(crmapitest.New(crmapitest.Options{CorpID: servicetest.CorpID, AutoCreate: true, Tokens: []string{text}}))
	}
	inFiles := func(text string) {
		for _, name := range []string{"KAFKA_SASL_PASSWORD", "REDIS_PASSWORD", "CRM_TOKEN"} {
			r.SetFile(name, text+"\n")
		}
	}
	onServers("canary-1")
	inFiles("canary-1")
	p := r.start()
	p.says(joined)
	broker.Produce(t, "in", r.title("before", 1))
	p.applies("before")

	r.Redis.Close()
	onServers("canary-2")
	mu.Lock()
	for _, l := range listeners {
		l.cut()
	}
	mu.Unlock()
	if err := r.Redis.Restart(); err != nil {
		t.Fatal(err)
	}
	broker.Produce(t, "in", r.title("after", 2))
	p.says("SASL Authentication Failed")
	inFiles("canary-2")
	p.applies("after")
	p.says(`"msg":"changed file read again","files":["CRM_TOKEN"]`)
	if calls := crm.Load().Calls(); len(calls) == 0 || calls[len(calls)-1].Code != crmapitest.CodeSuccess {
		t.Errorf("calls with the new token: %+v", calls)
	}
	p.Stop()
	if dead := broker.ReadAll(t, "in.dlq"); len(dead) != 0 {
		t.Errorf("%d dead letters", len(dead))
	}
}
