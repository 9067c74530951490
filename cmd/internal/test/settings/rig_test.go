package settings_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/segmentio/kafka-go"

	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

const (
	corp  = "CORP_TEST"
	token = "canary-token"
	// wrong is not a valid password or token.
	wrong = "canary-wrong"
)

// A rig holds a source topic, a Redis and a fake CRM for the programs of one test.
type rig struct {
	*settingTest
	topic, group string
	crm          *crmapitest.Server
	redis        *miniredis.Miniredis
	variables    map[string]string // without their prefix
	mu           sync.Mutex
	files        map[string]string // guarded by mu while a program runs
	sequence     int
}

// rig returns a rig with a valid configuration. The rate limit is off, so that tests are fast.
func (s *settingTest) rig(options ...crmapitest.Options) *rig {
	s.t.Helper()
	opts := crmapitest.Options{}
	if len(options) > 0 {
		opts = options[0]
	}
	opts.CorpID, opts.AutoCreate = corp, true
	opts.Tokens = []string{token}
	opts.AppID, opts.AppSecret, opts.PermanentCode = "APP_TEST", "canary-secret", "canary-code"
	r := &rig{
		settingTest: s, crm: crmapitest.New(opts), redis: miniredis.RunT(s.t),
		topic: s.broker.Topic(s.t, 1, nil), group: s.broker.Group(s.t),
		files: make(map[string]string),
	}
	r.letTimePass()
	r.variables = map[string]string{
		"KAFKA_BROKERS": strings.Join(s.broker.Addrs(), ","), "KAFKA_TOPIC": r.topic, "KAFKA_GROUP": r.group,
		"REDIS_URL": "redis://" + r.redis.Addr(), "CRM_BASE_URL": r.serve(r.crm), "CRM_CORP_ID": corp, "CRM_TOKEN": token,
		"CRM_RATE": "0", "ADMIN_ADDR": "",
	}
	return r
}

// letTimePass makes the keys of the fake Redis expire with real time. It does not do that by
// itself.
func (r *rig) letTimePass() {
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
				r.redis.FastForward(step)
			}
		}
	}()
	r.t.Cleanup(func() { close(stop); <-done })
}

// serve starts a server for a handler and returns its URL.
func (s *settingTest) serve(handler http.Handler) string {
	s.t.Helper()
	server := httptest.NewServer(handler)
	s.t.Cleanup(server.Close)
	return server.URL
}

func (r *rig) set(name, value string) { r.variables[name] = value }

func (r *rig) unset(name string) { delete(r.variables, name) }

func (r *rig) readFile(path string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, ok := r.files[path]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

// environ returns the rig's variables. The pairs of names and values given replace them.
func (r *rig) environ(pairs []string) []string {
	variables := maps.Clone(r.variables)
	for i := 0; i+1 < len(pairs); i += 2 {
		variables[pairs[i]] = pairs[i+1]
	}
	var environ []string
	for name, value := range variables {
		environ = append(environ, "MEMBERSYNC_"+name+"="+value)
	}
	return environ
}

// produce writes records to the source topic.
func (r *rig) produce(messages ...kafka.Message) {
	r.t.Helper()
	r.broker.Produce(r.t, r.topic, messages...)
}

// change returns an event of a made-up employee that is newer than all previous ones. more adds
// further members of the event.
func (r *rig) change(id string, employee int, after map[string]any, more ...map[string]any) kafka.Message {
	r.t.Helper()
	r.sequence++
	event := map[string]any{
		"eventId": id, "employeeId": fmt.Sprintf("E%04d", employee), "openUserId": member(employee),
		"sequence": r.sequence, "after": after,
	}
	for _, m := range more {
		maps.Copy(event, m)
	}
	body, err := json.Marshal(event)
	if err != nil {
		r.t.Fatal(err)
	}
	return kafka.Message{Key: fmt.Appendf(nil, "E%04d", employee), Value: body}
}

// title returns a change of the position.
func (r *rig) title(id string, employee int) kafka.Message {
	return r.change(id, employee, map[string]any{"position": "Position " + id})
}

// titles returns changes of different employees, named ev-1 and so on.
func (r *rig) titles(n int) []kafka.Message {
	var messages []kafka.Message
	for i := range n {
		messages = append(messages, r.title(fmt.Sprintf("ev-%d", i+1), i+1))
	}
	return messages
}

func member(employee int) string { return fmt.Sprintf("FSUID_TEST%04d", employee) }

// deadLetters returns the dead letters in a topic.
func (r *rig) deadLetters(topic string) []dlq.DeadLetter {
	r.t.Helper()
	var deadLetters []dlq.DeadLetter
	for _, m := range r.broker.ReadAll(r.t, topic) {
		l, err := dlq.Parse(m)
		if err != nil {
			r.t.Fatal(err)
		}
		deadLetters = append(deadLetters, l)
	}
	return deadLetters
}

// wantReason checks for one dead letter with the reason.
func (r *rig) wantReason(reason dlq.Reason) {
	r.t.Helper()
	if deadLetters := r.deadLetters(r.topic + ".dlq"); len(deadLetters) != 1 || deadLetters[0].Reason != reason {
		r.t.Errorf("dead letters %+v, want one of %s", deadLetters, reason)
	}
}

// created waits for a topic: the brokers learn of it shortly after the controller's response.
func (r *rig) created(topic string) {
	r.t.Helper()
	client := r.broker.Client(r.t)
	r.eventually("topic "+topic, func() bool { there, err := r.look(client, topic); return there && err == nil })
}

// exists reports whether a topic exists.
func (r *rig) exists(topic string) (there bool) {
	r.t.Helper()
	client := r.broker.Client(r.t)
	r.eventually("Kafka's answer", func() bool {
		var err error
		there, err = r.look(client, topic)
		return err == nil
	})
	return there
}

func (r *rig) look(client *kafka.Client, topic string) (there bool, err error) {
	res, err := client.Metadata(r.t.Context(), &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return false, err
	}
	return res.Topics[0].Error == nil, nil
}

// waitLimit bounds how long a test waits for an event.
const waitLimit = 90 * time.Second

// eventually polls until the condition holds.
func (s *settingTest) eventually(what string, ok func() bool) {
	s.t.Helper()
	limit := time.After(waitLimit)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			s.t.Fatalf("waited %v for %s", waitLimit, what)
		}
	}
}
