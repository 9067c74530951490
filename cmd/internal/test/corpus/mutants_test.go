package corpus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"membersync/cmd/internal/cli"
	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
	"membersync/dlq/kafkatest"
	"membersync/mapper"
)

func TestMain(m *testing.M) {
	dedupe.SetClientLog(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

const (
	partitions = 4
	mutants    = 10_000 // of all cases together, at least
	waitLimit  = 4 * time.Minute
)

// TestCorpusAndMutants runs every case of the corpus and its mutants through the service, one
// mapping at a time.
func TestCorpusAndMutants(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t)
	sources := corpus(t)
	cases := 0
	for _, s := range sources {
		cases += len(s.records)
	}
	each := mutants/cases + 1
	var mu sync.Mutex
	total := tally{}
	t.Run("mappings", func(t *testing.T) {
		t.Parallel()
		for i, s := range sources {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				n := newStage(t, broker, s).play(uint64(i), each) //nolint:gosec // a seed
				mu.Lock()
				defer mu.Unlock()
				total.add(n)
			})
		}
	})
	t.Cleanup(func() {
		t.Logf("real Kafka %t: %d records, of them %d mutants: %d events, %d of them applied, %d ignored, %d dead deadLetters; %d calls, %d values in events and %d in calls derived",
			broker.Real(), total.records, each*cases, total.events, total.outcomes[consumer.Applied], total.outcomes[consumer.Ignored],
			total.outcomes[consumer.DeadLettered], total.calls, total.stated, total.sent)
	})
}

// A tally counts the results.
type tally struct {
	records, events, calls, stated, sent int
	outcomes                             map[consumer.Outcome]int
}

func (n *tally) add(m tally) {
	n.records, n.events, n.calls, n.stated, n.sent = n.records+m.records, n.events+m.events, n.calls+m.calls, n.stated+m.stated, n.sent+m.sent
	if n.outcomes == nil {
		n.outcomes = map[consumer.Outcome]int{}
	}
	for outcome, count := range m.outcomes {
		n.outcomes[outcome] += count
	}
}

// A stage runs the records of one mapping.
type stage struct {
	t            *testing.T
	source       *source
	broker       *kafkatest.Broker
	crm          *crmapitest.Server
	topic, group string
	environ      []string
	files        map[string]string
	recorder     *recorder
}

func newStage(t *testing.T, broker *kafkatest.Broker, s *source) *stage {
	t.Helper()
	st := &stage{
		t: t, source: s, broker: broker, topic: broker.Topic(t, partitions, nil), group: broker.Group(t),
		files:    map[string]string{s.setting: string(s.mapping)},
		recorder: &recorder{outcomes: map[consumer.Outcome]int{}},
		// A duplicate account, name or mobile is final in this test. Otherwise each would take several
		// attempts.
		crm: crmapitest.New(crmapitest.Options{
			CorpID: "CORP_TEST", Tokens: []string{"token"}, AutoCreate: true, DuplicateCode: crmapitest.CodeMissing,
		}),
	}
	server := httptest.NewServer(st.crm)
	t.Cleanup(server.Close)
	redis := miniredis.RunT(t)
	st.fillLookups(redis)
	for name, value := range map[string]string{
		"KAFKA_BROKERS": strings.Join(broker.Addrs(), ","), "KAFKA_TOPIC": st.topic, "KAFKA_GROUP": st.group,
		"REDIS_URL": "redis://" + redis.Addr(), "CRM_BASE_URL": server.URL, "CRM_CORP_ID": "CORP_TEST", "CRM_TOKEN": "token",
		"CRM_RATE": "0", "ADMIN_ADDR": "", "LOG_LEVEL": "error", "DLQ_STORM_SHARE": "0", "MAPPING": s.setting,
	} {
		st.environ = append(st.environ, "MEMBERSYNC_"+name+"="+value)
	}
	return st
}

// fillLookups writes the corpus' lookups to the place where the mapping reads them.
func (st *stage) fillLookups(redis *miniredis.Miniredis) {
	var file node
	unmarshal(st.t, st.source.mapping, &file)
	for name, l := range asNode(file["lookups"]) {
		entries := st.source.lookups[name]
		if hash, ok := asNode(l)["redis"].(string); ok {
			for key, value := range entries {
				redis.HSet(hash, key, value)
			}
		}
		if path, ok := asNode(l)["file"].(string); ok {
			key, value := "k", "v"
			if named := asText(asNode(l)["key"]); named != "" {
				key, value = named, asText(asNode(l)["value"])
			}
			text := key + "," + value + "\n"
			for _, id := range slices.Sorted(maps.Keys(entries)) {
				text += id + "," + entries[id] + "\n"
			}
			st.files[path] = text
		}
	}
}

// play produces the cases and the given number of mutants of each, waits until the group has
// finished all of them, and checks the result.
func (st *stage) play(seed uint64, each int) tally {
	st.t.Helper()
	messages := st.messages(seed, each)
	end := st.start()
	st.broker.Produce(st.t, st.topic, messages...)
	st.settle()
	end()
	return st.judge(messages)
}

func (st *stage) messages(seed uint64, each int) (all []kafka.Message) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, m := range st.source.records {
		all = append(all, m)
		for range each {
			all = append(all, mutant(rng, m, st.source.records))
		}
	}
	for i := range all { // each about a different member, otherwise most would be duplicates of one event
		all[i].Value = bytes.ReplaceAll(all[i].Value, []byte("FSUID_TEST0001"), fmt.Appendf(nil, "FSUID_M%05d", i))
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for i := range all {
		all[i].Partition = i % partitions
	}
	return all
}

var errOver = errors.New("the test is over")

// start starts the service and returns a function that stops it.
func (st *stage) start() (end func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(st.t.Context()))
	logs := &output{}
	status := make(chan int, 1)
	go func() {
		status <- cli.Run(ctx, []string{"run"}, cli.Env{
			Stdin: strings.NewReader(""), Stdout: logs, Stderr: logs, Environ: st.environ, Observer: st.recorder,
			ReadFile: func(path string) ([]byte, error) {
				text, ok := st.files[path]
				if !ok {
					return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
				}
				return []byte(text), nil
			},
		})
	}()
	end = sync.OnceFunc(func() {
		cancel(errOver)
		if got := <-status; got != 0 {
			st.t.Errorf("status %d: %s", got, logs)
		}
	})
	st.t.Cleanup(end)
	return end
}

// settle waits until every record is finished. A stalled partition never finishes.
func (st *stage) settle() {
	st.t.Helper()
	limit := time.After(waitLimit)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for st.broker.Lag(st.t, st.group, st.topic) > 0 {
		select {
		case <-tick.C:
		case <-limit:
			st.t.Fatalf("%d records are not finished after %v", st.broker.Lag(st.t, st.group, st.topic), waitLimit)
		}
	}
}

// judge derives what every event states from the bytes of its record, and what every call may send
// from those of all records.
func (st *stage) judge(messages []kafka.Message) tally {
	st.t.Helper()
	r := readRules(st.t, st.source)
	st.recorder.mu.Lock()
	defer st.recorder.mu.Unlock()
	n := tally{records: len(messages), outcomes: st.recorder.outcomes}
	if len(st.recorder.seen) < len(messages) {
		st.t.Errorf("%d records arrived, %d were produced", len(st.recorder.seen), len(messages))
	}
	lawful := map[string]map[string]map[string]bool{} // by member, field and value
	for _, seen := range st.recorder.seen {
		statement := stated(seen.message)
		members := r.members(statement)
		values := r.note(lawful, statement, members)
		n.events += seen.events
		for _, u := range seen.updates {
			n.stated += st.judgeUpdate(seen.message, u, members, values)
		}
	}
	for _, call := range st.crm.Calls() {
		n.calls++
		n.sent += st.judgeCall(call, lawful)
	}
	return n
}

// note adds the values that the record allows to those that any record allows.
func (r *rules) note(lawful map[string]map[string]map[string]bool, s *statement, members []string) map[string][]string {
	values := map[string][]string{}
	for name, f := range r.fields {
		values[name] = r.allowed(s, f)
		for _, member := range members {
			if lawful[member] == nil {
				lawful[member] = map[string]map[string]bool{}
			}
			if lawful[member][name] == nil {
				lawful[member][name] = map[string]bool{}
			}
			for _, v := range values[name] {
				lawful[member][name][v] = true
			}
		}
	}
	return values
}

func (st *stage) judgeUpdate(m kafka.Message, u map[string]json.RawMessage, members []string, values map[string][]string) (judged int) {
	for name, value := range u {
		judged++
		switch {
		case name == "openUserId" && !slices.ContainsFunc(members, func(id string) bool { return quoted(id) == string(value) }):
			st.t.Errorf("%s: member %s, which the record does not name\n%q %q", st.source.name, value, m.Value, m.Key)
		case name != "openUserId" && !slices.Contains(values[name], string(value)):
			st.t.Errorf("%s: %s is %s, which the record does not state; it lets %q\n%q", st.source.name, name, value, values[name], m.Value)
		}
	}
	return judged
}

func (st *stage) judgeCall(call crmapitest.Seen, lawful map[string]map[string]map[string]bool) (judged int) {
	if call.Code == crmapitest.CodeType || call.Code == crmapitest.CodeMalformed {
		st.t.Errorf("%s: the CRM does not take %s", st.source.name, call.User)
	}
	var user map[string]json.RawMessage
	if err := json.Unmarshal(call.User, &user); err != nil {
		st.t.Fatal(err)
	}
	for name, value := range user {
		judged++
		if name != "openUserId" && !lawful[call.OpenUserID][name][string(value)] {
			st.t.Errorf("%s: %s of %s was sent as %s, which no record states", st.source.name, name, call.OpenUserID, value)
		}
	}
	return judged
}

// A recorder records the results of each record.
type recorder struct {
	mu       sync.Mutex
	seen     []seen
	outcomes map[consumer.Outcome]int
}

type seen struct {
	message kafka.Message
	events  int
	updates []map[string]json.RawMessage
}

// Decoded implements consumer.Observer.
func (r *recorder) Decoded(rec mapper.Record, results []mapper.Result) {
	s := seen{message: kafka.Message{Key: slices.Clone(rec.Key), Value: slices.Clone(rec.Value)}, events: len(results)}
	for _, h := range rec.Headers {
		s.message.Headers = append(s.message.Headers, kafka.Header{Key: h.Key, Value: slices.Clone(h.Value)})
	}
	for _, r := range results {
		if r.Fault != nil || r.Event.Update.Len() == 0 {
			continue
		}
		var u map[string]json.RawMessage
		if json.Unmarshal(r.Event.Update.AppendJSON(nil), &u) == nil {
			s.updates = append(s.updates, u)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, s)
}

// Called implements consumer.Observer.
func (*recorder) Called(consumer.CallAttempt) {}

// Finished implements consumer.Observer.
func (r *recorder) Finished(end consumer.EventResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes[end.Outcome]++
}

// An output can be read while it is written.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
