package corpus_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"membersync/cmd/internal/test/testbed/servicetest"
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
		t.Logf("real Kafka %t: %d records, of them %d mutants: %d events, %d of them applied, %d ignored, %d dead letters; %d calls, %d values in events and %d in calls derived",
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
	*servicetest.Rig
	t        *testing.T
	source   *source
	recorder *recorder
}

func newStage(t *testing.T, broker *kafkatest.Broker, s *source) *stage {
	t.Helper()
	// A duplicate account, name or mobile is final in this test. Otherwise each would take several
	// attempts.
	crm := crmapitest.Options{AutoCreate: true, DuplicateCode: crmapitest.CodeMissing}
	st := &stage{
		Rig: servicetest.New(t, broker, servicetest.Options{Partitions: partitions, CRM: crm}),
		t:   t, source: s, recorder: &recorder{outcomes: map[consumer.Outcome]int{}},
	}
	st.SetFile(s.setting, string(s.mapping))
	st.fillLookups(st.Redis)
	maps.Copy(st.Variables, map[string]string{"LOG_LEVEL": "error", "DLQ_STORM_SHARE": "0", "MAPPING": s.setting})
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
			st.SetFile(path, text)
		}
	}
}

// play produces the cases and the given number of mutants of each, waits until the group has
// finished all of them, and checks the result.
func (st *stage) play(seed uint64, each int) tally {
	st.t.Helper()
	messages := st.messages(seed, each)
	program := st.Start(st.recorder)
	st.Broker.Produce(st.t, st.Topic, messages...)
	servicetest.EventuallyWithin(st.t, waitLimit, "the group to finish every record", func() bool {
		return st.Broker.Lag(st.t, st.Group, st.Topic) == 0
	})
	if status := program.Stop(); status != 0 {
		st.t.Errorf("status %d: %s", status, program.Logs)
	}
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
	for _, call := range st.CRM.Calls() {
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
