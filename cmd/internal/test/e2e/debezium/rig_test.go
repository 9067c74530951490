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

// A rig is a database with the testbed, and the results of the steps so far.
type rig struct {
	d       database
	connect *connect
	testbed *testbed.Testbed
	job     *testbed.Job
	crm     *crmapitest.Server
	watcher *watcher

	rows   map[string]string // updated_at of each row by emp_no
	want   crm
	calls  int
	dead   int64
	rounds int // of during
	table  bytes.Buffer
	lines  *tabwriter.Writer
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
	r := &rig{d: d, testbed: s, want: crm{}, rows: map[string]string{}}
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
	r.topics(t, partitions)
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
	r.lines = tabwriter.NewWriter(&r.table, 0, 0, 2, ' ', 0)
	r.line("STEP", "ROWS", "RECORDS", "MEMBERS", "CALLS", "DEAD", "SECONDS", "CRM", "RECORDS BY KIND")
	t.Cleanup(func() {
		_ = r.lines.Flush()
		t.Logf("%s\n%s", d.name(), r.table.String())
		if stats := r.crm.Stats(); stats.Overlaps > 0 || len(stats.Violations) > 0 {
			t.Errorf("calls of a member at the same time: %d; violations: %v", stats.Overlaps, stats.Violations)
		}
	})
	return r
}

// topics creates the topics that Debezium writes: for the table and for the table of signals.
func (r *rig) topics(t *testing.T, partitions int) {
	t.Helper()
	signals := strings.TrimSuffix(r.d.topic(), "employees") + "dbz_signal"
	for topic, n := range map[string]int{r.d.topic(): partitions, signals: 1, "hr": 1} {
		if err := r.testbed.CreateTopic(t.Context(), topic, n, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *rig) line(cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			_, _ = fmt.Fprint(r.lines, "\t")
		}
		_, _ = fmt.Fprint(r.lines, cell)
	}
	_, _ = fmt.Fprintln(r.lines)
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
	o := outcome{tally: r.watcher.next(t.Context(), t), rows: r.readTable(t)}
	o.members = r.want.changed(before)
	calls, dead := len(r.crm.Calls()), r.deadLetters(t)
	o.calls, o.dead = calls-r.calls, int(dead-r.dead)
	r.checkOrder(t, name)
	r.calls, r.dead = calls, dead
	result := "equal"
	if found := r.want.differences(r.state(t)); len(found) > 0 {
		result = "DIFFERS"
		t.Errorf("%s: %s", name, summary(found))
	}
	if o.dead > 0 {
		t.Errorf("%s: %d dead letters", name, o.dead)
	}
	seconds := fmt.Sprintf("%.1f", time.Since(began).Seconds())
	r.line(name, o.rows, o.records, o.members, o.calls, o.dead, seconds, result, o.tally)
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

// readTable derives the expected CRM from the table, and counts the rows that changed.
func (r *rig) readTable(t *testing.T) (changed int) {
	t.Helper()
	rows := query(t, r.d, "SELECT * FROM employees ORDER BY emp_no;")
	r.want.apply(t, rows)
	now := make(map[string]string, len(rows))
	for _, row := range rows {
		now[row.get("emp_no")] = row.get("updated_at")
	}
	for no := range merged(now, r.rows) {
		if now[no] != r.rows[no] {
			changed++
		}
	}
	r.rows = now
	return changed
}

// state returns the state of the CRM.
func (r *rig) state(t *testing.T) crm {
	t.Helper()
	got := crm{}
	for id, fields := range r.crm.Snapshot() {
		got[id] = make(map[string]string, len(fields))
		for name, raw := range fields {
			var value any
			if err := json.Unmarshal(raw, &value); err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			got[id][name] = string(text)
		}
	}
	return got
}

func (r *rig) deadLetters(t *testing.T) int64 {
	t.Helper()
	n, err := r.job.DeadLetters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// run is a step that runs statements.
func (r *rig) run(t *testing.T, name string, statements ...string) outcome {
	t.Helper()
	return r.step(t, name, r.sql(statements...))
}

// noCalls checks that the step, which changed no member, did not call the CRM.
func (o outcome) noCalls(t *testing.T) {
	t.Helper()
	if o.calls != 0 || o.members != 0 {
		t.Errorf("%d calls for %d changed members, want none", o.calls, o.members)
	}
}

// sql returns a change that runs statements.
func (r *rig) sql(statements ...string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		if _, err := execute(t.Context(), r.d, strings.Join(statements, ";\n")+";\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// titleOfDuring is the title that during sets, with the number of the round, which only rises.
const titleOfDuring = "Sample Title %d"

// during changes rows one after the other until the function returns. A round is 20 rows.
func (r *rig) during(t *testing.T, rows int, f func(*testing.T)) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			var statements []string
			r.rounds++
			round := r.rounds
			for i := range 20 {
				no := 1 + (round*20+i*7)%rows
				statements = append(statements, update(fmt.Sprintf("title = '"+titleOfDuring+"', dept_id = %d", round, round), no, no))
			}
			if _, err := execute(t.Context(), r.d, strings.Join(statements, ";\n")+";\n"); err != nil {
				done <- err
				return
			}
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
		}
	}()
	f(t)
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// awaitRecords waits until the connector has written n more records.
func (r *rig) awaitRecords(t *testing.T, n int64) {
	t.Helper()
	from, err := r.testbed.Count(t.Context(), r.d.topic())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err = testbed.Until(ctx, poll, func(ctx context.Context) (bool, error) {
		count, err := r.testbed.Count(ctx, r.d.topic())
		if err != nil {
			return false, err
		}
		return count-from >= n, r.connect.check(ctx)
	})
	if err != nil {
		t.Fatalf("waiting for %d records: %v", n, err)
	}
}

// number returns an emp_no, member an ID of the CRM.
func number(i int) string   { return fmt.Sprintf("%06d", i) }
func memberID(i int) string { return fmt.Sprintf("FSUID_TEST%04d", i) }

// insert writes rows of made-up people. Each tenth has no member in the CRM, each seventh has NULL
// or no value wherever that is possible.
func (r *rig) insert(from, to int) string {
	var values []string
	for i := from; i <= to; i++ {
		link, texts, times := "'"+memberID(i)+"'", fmt.Sprintf("'sp%d', 'Sample Clerk'", i), "'2020-01-02', '1985-06-15'"
		mobile, email, lists := fmt.Sprintf("'+86 000-0000-%04d'", i), fmt.Sprintf("'s%d@example.com'", i), r.d.list(i%5, 5+i%3)
		if i%10 == 0 {
			link = "NULL"
		}
		if i%7 == 0 {
			texts, times, mobile, email, lists = "NULL, NULL", "'9999-12-31', NULL", "NULL", "''", "NULL"
		}
		values = append(values, fmt.Sprintf("('%s', %s, 'Sample Person %d', %s, '%s', %s, %s, %d, %s, %s, %d.5, repeat('Made-up %d. ', 300))",
			number(i), link, i, texts, r.gender(i), mobile, email, 1+i%9, lists, times, i, i))
	}
	return "INSERT INTO employees (emp_no, crm_open_user_id, full_name, nickname, title, gender, mobile, email, " +
		"dept_id, extra_depts, hire_date, birth_date, salary, bio) VALUES\n" + strings.Join(values, ",\n")
}

// gender returns a value of the column: M, F, and each thirteenth another.
func (r *rig) gender(i int) string {
	names := []string{"M", "F", "X"}
	if r.d.name() == (mariadb{}).name() {
		names = []string{"male", "female", "other"}
	}
	if i%13 == 0 {
		return names[2]
	}
	return names[i%2]
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

// numbers returns emp_nos as a list of SQL.
func numbers(from, to int) string {
	return "BETWEEN '" + number(from) + "' AND '" + number(to) + "'"
}

// update returns a statement that sets columns of some rows.
func update(set string, from, to int) string {
	return "UPDATE employees SET " + set + " WHERE emp_no " + numbers(from, to)
}
