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
	// wrong is what no password or token is.
	wrong = "canary-wrong"
)

// A rig is a source topic, a Redis and a fake CRM for the programs of one test.
type rig struct {
	*scene
	topic, group string
	crm          *crmapitest.Server
	redis        *miniredis.Miniredis
	variables    map[string]string // without their prefix
	mu           sync.Mutex
	files        map[string]string // guarded by mu while a program runs
	sequence     int
}

// rig makes one with a configuration that works. The limit of calls is off, to be quick.
func (s *scene) rig(options ...crmapitest.Options) *rig {
	s.t.Helper()
	opts := crmapitest.Options{}
	if len(options) > 0 {
		opts = options[0]
	}
	opts.CorpID, opts.AutoCreate = corp, true
	opts.Tokens = []string{token}
	opts.AppID, opts.AppSecret, opts.PermanentCode = "APP_TEST", "canary-secret", "canary-code"
	r := &rig{
		scene: s, crm: crmapitest.New(opts), redis: miniredis.RunT(s.t),
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

// letTimePass lets keys of the Redis run out as time goes by, which it does not do by itself.
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

// serve lets a handler listen and returns its URL.
func (s *scene) serve(handler http.Handler) string {
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

// environ is the rig's variables with others in place of them, given as names and values in turn.
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

// change is an event of a made-up employee, newer than all before. More sets further members of it.
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

// title is a change of the position.
func (r *rig) title(id string, employee int) kafka.Message {
	return r.change(id, employee, map[string]any{"position": "Position " + id})
}

// titles are changes of different employees, named ev-1 and so on.
func (r *rig) titles(n int) []kafka.Message {
	var messages []kafka.Message
	for i := range n {
		messages = append(messages, r.title(fmt.Sprintf("ev-%d", i+1), i+1))
	}
	return messages
}

func member(employee int) string { return fmt.Sprintf("FSUID_TEST%04d", employee) }

// letters are the dead letters in a topic.
func (r *rig) letters(topic string) []dlq.DeadLetter {
	r.t.Helper()
	var letters []dlq.DeadLetter
	for _, m := range r.broker.ReadAll(r.t, topic) {
		l, err := dlq.Parse(m)
		if err != nil {
			r.t.Fatal(err)
		}
		letters = append(letters, l)
	}
	return letters
}

// wantReason wants one dead letter with the reason.
func (r *rig) wantReason(reason dlq.Reason) {
	r.t.Helper()
	if letters := r.letters(r.topic + ".dlq"); len(letters) != 1 || letters[0].Reason != reason {
		r.t.Errorf("dead letters %+v, want one of %s", letters, reason)
	}
}

// created waits for a topic: the brokers hear of it a moment after the controller has answered.
func (r *rig) created(topic string) {
	r.t.Helper()
	client := r.broker.Client(r.t)
	r.eventually("topic "+topic, func() bool { there, err := r.look(client, topic); return there && err == nil })
}

// exists reports whether a topic is there.
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

// patience is how long a test waits for something that has to come.
const patience = 90 * time.Second

// eventually looks again and again.
func (s *scene) eventually(what string, ok func() bool) {
	s.t.Helper()
	limit := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			s.t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
