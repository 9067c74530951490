package servicetest

import (
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"membersync/crmapi/crmapitest"
	"membersync/dlq/kafkatest"
)

// The company and the token that the fake CRM accepts.
const (
	CorpID = "CORP_TEST"
	Token  = "canary-token"
)

// Options configure a rig.
type Options struct {
	// Partitions is the number of partitions of the source topic.
	Partitions int
	// CRM are the options of the fake CRM. New sets the company and, if there is no token, [Token].
	CRM crmapitest.Options
	// Wrap, if set, returns a handler in front of the CRM.
	Wrap func(http.Handler) http.Handler
	// RedisURL is the URL of a running Redis. Empty: New starts a fake one.
	RedisURL string
}

// A Rig holds a source topic, a Redis and a fake CRM for the programs of one test.
type Rig struct {
	Broker       *kafkatest.Broker
	Topic, Group string
	CRM          *crmapitest.Server
	Redis        *miniredis.Miniredis // nil with [Options.RedisURL]
	// Variables are the settings of each program, without MEMBERSYNC_. They are valid; the rate
	// limit and the admin server are off.
	Variables map[string]string

	tb    testing.TB
	mu    sync.Mutex
	files map[string]string
}

// New returns a rig on the broker. Everything in it ends with the test.
func New(tb testing.TB, broker *kafkatest.Broker, o Options) *Rig {
	tb.Helper()
	o.CRM.CorpID = CorpID
	if len(o.CRM.Tokens) == 0 {
		o.CRM.Tokens = []string{Token}
	}
	r := &Rig{
		tb: tb, Broker: broker, Topic: broker.Topic(tb, o.Partitions, nil), Group: broker.Group(tb),
		CRM: crmapitest.New(o.CRM), files: make(map[string]string),
	}
	if o.RedisURL == "" {
		r.Redis = miniredis.RunT(tb)
		o.RedisURL = "redis://" + r.Redis.Addr()
	}
	var crm http.Handler = r.CRM
	if o.Wrap != nil {
		crm = o.Wrap(crm)
	}
	r.Variables = map[string]string{
		"KAFKA_BROKERS": strings.Join(broker.Addrs(), ","), "KAFKA_TOPIC": r.Topic, "KAFKA_GROUP": r.Group,
		"REDIS_URL": o.RedisURL, "CRM_BASE_URL": Serve(tb, crm), "CRM_CORP_ID": CorpID, "CRM_TOKEN": o.CRM.Tokens[0],
		"CRM_RATE": "0", "ADMIN_ADDR": "",
	}
	tb.Cleanup(r.CRM.Release) // otherwise the server waits for the held calls
	return r
}

// LetTimePass makes the keys of the fake Redis expire with real time until the end of the test. It
// does not do that by itself.
func (r *Rig) LetTimePass() {
	const step = 100 * time.Millisecond
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(step)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				r.Redis.FastForward(step)
			}
		}
	}()
	r.tb.Cleanup(func() { close(stop); <-done })
}

// Serve starts a server for a handler and returns its URL.
func Serve(tb testing.TB, handler http.Handler) string {
	tb.Helper()
	server := httptest.NewServer(handler)
	tb.Cleanup(server.Close)
	return server.URL
}

// SetFile sets the text of a file that the programs can read. No other file exists for them.
func (r *Rig) SetFile(path, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[path] = text
}

func (r *Rig) readFile(path string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, ok := r.files[path]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

// environ returns the rig's variables. The pairs of names and values given replace them.
func (r *Rig) environ(pairs []string) []string {
	variables := maps.Clone(r.Variables)
	for i := 0; i+1 < len(pairs); i += 2 {
		variables[pairs[i]] = pairs[i+1]
	}
	var environ []string
	for name, value := range variables {
		environ = append(environ, "MEMBERSYNC_"+name+"="+value)
	}
	return environ
}
