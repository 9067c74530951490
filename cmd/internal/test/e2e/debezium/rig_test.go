package debezium

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// A rig is a table, the connector and membersync, with the results of the steps so far.
type rig struct {
	table   *employees
	connect *connect
	testbed *testbed.Testbed
	job     *testbed.Job
	crm     *crmapitest.Server
	watcher *watcher

	want   crm
	calls  int
	dead   int64
	report *tabwriter.Writer // a line for each step
}

// limit bounds each wait.
const limit = 2 * time.Minute

// open starts everything except the connector. The settings add to those of every test.
func open(t *testing.T, d database, mapping string, partitions int, settings map[string]string) *rig {
	t.Helper()
	s, err := testbed.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	r := &rig{table: &employees{d: d, rows: map[string]string{}}, testbed: s, want: crm{}}
	r.watcher = &watcher{testbed: s, topic: d.topic(), read: map[int32]int64{}, seen: map[string]bool{}}
	r.crm = crmapitest.New(crmapitest.Options{CorpID: testbed.CorpID, Tokens: []string{testbed.Token}, AutoCreate: true})
	server, err := testbed.Serve(t.Context(), r.crm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	if r.job, err = s.NewJob(t.Context(), 1, server.URL()); err != nil {
		t.Fatal(err)
	}
	createTopics(t, s, d, partitions)
	r.job.Topic, r.job.Variables["KAFKA_TOPIC"] = d.topic(), d.topic()
	r.job.Variables["STATE_KEY"] = "a made-up state key of more than 32 bytes"
	if r.job.Variables["MAPPING"], err = filepath.Abs(filepath.Join("testdata", mapping)); err != nil {
		t.Fatal(err)
	}
	instance, err := r.job.Start(t.Context(), nil)
	if err == nil {
		err = instance.AwaitReady(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	r.connect = newConnect(t, d, s, settings)
	var report bytes.Buffer
	r.report = tabwriter.NewWriter(&report, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(r.report, "STEP\tROWS\tRECORDS\tMEMBERS\tCALLS\tDEAD\tSECONDS\tCRM\tRECORDS BY KIND")
	t.Cleanup(func() {
		_ = r.report.Flush()
		t.Logf("%s\n%s", d.name(), report.String())
		if stats := r.crm.Stats(); stats.Overlaps > 0 || len(stats.Violations) > 0 {
			t.Errorf("calls of a member at the same time: %d; violations: %v", stats.Overlaps, stats.Violations)
		}
	})
	return r
}

// createTopics creates the topics that Debezium writes: for the table and for the table of signals.
func createTopics(t *testing.T, s *testbed.Testbed, d database, partitions int) {
	t.Helper()
	signals := strings.TrimSuffix(d.topic(), "employees") + "dbz_signal"
	for topic, n := range map[string]int{d.topic(): partitions, signals: 1, "hr": 1} {
		if err := s.CreateTopic(t.Context(), topic, n, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// An outcome is the result of one step.
type outcome struct {
	*tally
	rows    int // inserted, deleted or updated
	members int // whose fields changed
	calls   int // of the CRM
	dead    int // dead letters
}

// step runs a change, waits until the connector and membersync are idle, and compares the CRM with
// the table.
func (r *rig) step(t *testing.T, name string, change func(*testing.T)) outcome {
	t.Helper()
	began := time.Now()
	change(t)
	r.connect.settle(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := r.job.AwaitDrained(ctx); err != nil {
		t.Fatalf("waiting for membersync: %v", err)
	}
	before := r.want.clone()
	o := outcome{tally: r.watcher.next(t.Context(), t)}
	rows, changed := r.table.read(t)
	r.want.apply(t, rows)
	o.rows, o.members = changed, r.want.changed(before)
	dead, err := r.job.DeadLetters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	calls := len(r.crm.Calls())
	o.calls, o.dead = calls-r.calls, int(dead-r.dead)
	r.checkOrder(t, name)
	r.calls, r.dead = calls, dead
	result := "equal"
	if found := r.want.differences(snapshotOf(t, r.crm)); len(found) > 0 {
		result = "DIFFERS"
		t.Errorf("%s: %s", name, summary(found))
	}
	if o.dead > 0 {
		t.Errorf("%s: %d dead letters", name, o.dead)
	}
	_, _ = fmt.Fprintf(r.report, "%s\t%d\t%d\t%d\t%d\t%d\t%.1f\t%s\t%v\n",
		name, o.rows, o.records, o.members, o.calls, o.dead, time.Since(began).Seconds(), result, o.tally)
	t.Logf("%s: %s, %d rows, %d records, %d members, %d calls (%v)", name, result, o.rows, o.records, o.members, o.calls, o.tally)
	return o
}

// checkOrder checks that no call of the step restored an older title of during.
func (r *rig) checkOrder(t *testing.T, step string) {
	t.Helper()
	last, back, example := map[string]int{}, 0, ""
	for _, call := range r.crm.Calls()[r.calls:] {
		var user struct{ Position string }
		if err := json.Unmarshal(call.User, &user); err != nil {
			t.Fatal(err)
		}
		var round int
		if _, err := fmt.Sscanf(user.Position, titleOfDuring, &round); err != nil {
			continue
		}
		if round < last[call.OpenUserID] {
			back++
			example = fmt.Sprintf("%s from round %d to %d", call.OpenUserID, last[call.OpenUserID], round)
		}
		last[call.OpenUserID] = round
	}
	if back > 0 {
		t.Errorf("%s: a position went back %d times, such as that of %s", step, back, example)
	}
}

// run is a step that runs statements.
func (r *rig) run(t *testing.T, name string, statements ...string) outcome {
	t.Helper()
	return r.step(t, name, func(t *testing.T) { t.Helper(); r.table.execute(t, statements...) })
}

// stepDuring is a step while rows change all the time.
func (r *rig) stepDuring(t *testing.T, name string, rows int, f func(*testing.T)) outcome {
	t.Helper()
	return r.step(t, name, func(t *testing.T) { t.Helper(); r.table.during(t, rows, f) })
}

// noCalls checks that the step, which changed no member, did not call the CRM.
func (o outcome) noCalls(t *testing.T) {
	t.Helper()
	if o.calls != 0 || o.members != 0 {
		t.Errorf("%d calls for %d changed members, want none", o.calls, o.members)
	}
}

// awaitRecords waits until the connector has written n more records.
func (r *rig) awaitRecords(t *testing.T, n int64) {
	t.Helper()
	from, err := r.testbed.Count(t.Context(), r.table.d.topic())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err = testbed.Until(ctx, poll, func(ctx context.Context) (bool, error) {
		count, err := r.testbed.Count(ctx, r.table.d.topic())
		if err != nil {
			return false, err
		}
		return count-from >= n, r.connect.check(ctx)
	})
	if err != nil {
		t.Fatalf("waiting for %d records: %v", n, err)
	}
}

// port returns a port that .ci/debezium set, and skips the test without it.
func port(t *testing.T, env string) string {
	t.Helper()
	port := os.Getenv(env)
	if port == "" || os.Getenv(connectEnv) == "" {
		t.Skip("run .ci/debezium test")
	}
	return port
}
