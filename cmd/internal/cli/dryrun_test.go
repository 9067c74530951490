package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/cmd/internal/interrupt"
)

// dryEvents are two changes of one member, one that would be dead-lettered, one that is ignored,
// and one delivered twice.
func dryEvents() []kafka.Message {
	change := func(id string, sequence int, employee, more string) kafka.Message {
		return kafka.Message{Time: time.UnixMilli(1_795_334_400_000), Key: []byte(employee), Value: fmt.Appendf(nil,
			`{"eventId":%q,"sequence":%d,"employeeId":%q,"openUserId":"FSUID_%s",%s}`, id, sequence, employee, employee, more)}
	}
	return []kafka.Message{
		change("first", 1, "E1", `"after":{"position":"hushhush-one","qq":"hushhush-qq"}`),
		change("bad", 2, "E2", `"after":{"gender":"hushhush-gender"}`),
		change("gone", 3, "E3", `"before":{"qq":"1"},"after":null`),
		change("again", 4, "E4", `"after":{"email":"hushhush-mail"}`),
		change("again", 4, "E4", `"after":{"email":"hushhush-mail"}`),
		change("old", 1, "E4", `"after":{"email":"hushhush-old"}`),
	}
}

// runDry makes a dry run over the events, until the summary would count them all, and returns what
// it printed.
func (r *rig) runDry(t *testing.T, args ...string) string {
	t.Helper()
	end, status := r.background(t, append([]string{"--dry-run"}, args...)...)
	r.out.await(t, "FSUID_E4")
	r.errs.await(t, "joined the group")
	for r.broker.Lag(t, r.dryGroup(t), r.topic()) > 0 {
	}
	end(&interrupt.Error{Signal: syscall.SIGTERM})
	if got := <-status; got != exitDone {
		t.Errorf("status %d: %s", got, r.errs)
	}
	return r.out.String()
}

func (r *rig) topic() string { return r.variable("KAFKA_TOPIC") }

func (r *rig) variable(name string) string {
	for _, v := range r.app.Environ {
		if value, ok := strings.CutPrefix(v, "MEMBERSYNC_"+name+"="); ok {
			return value
		}
	}
	return ""
}

// groups lists the consumer groups in Kafka that are this rig's.
func (r *rig) groups(t *testing.T) (groups []string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.broker.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	answer, err := kmsg.NewPtrListGroupsRequest().RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range answer.Groups {
		if strings.HasPrefix(g.Group, r.variable("KAFKA_GROUP")) {
			groups = append(groups, g.Group)
		}
	}
	return groups
}

func (r *rig) dryGroup(t *testing.T) string {
	t.Helper()
	for _, g := range r.groups(t) {
		if strings.Contains(g, ".dry-run.") {
			return g
		}
	}
	t.Fatal("no group of a dry run")
	return ""
}

// A dry run tells what would be done, without values, and does nothing: no call, no key in Redis,
// no topic, no group that stays.
func TestDryRun(t *testing.T) {
	t.Parallel()
	r := newService(t)
	r.broker.Produce(t, r.topic(), dryEvents()...)
	out := r.runDry(t)
	for _, want := range []string{
		`call         FSUID_E1  events 1  {"openUserId":"FSUID_E1","position":"***","qq":"***"}` + "\n",
		"dead letter  0:1:0" + sampleTime + "  employee E2  event bad  invalid_field: after.gender is neither M nor F (byte 90)\n",
		`call         FSUID_E4  events `,
		"\n\ndry run: nothing was sent; 2 calls would have been made\n  applied        2\n  superseded     1\n  unchanged      0\n  duplicate      1\n" +
			"  ignored        1\n  dead_lettered  1\n    invalid_field        1\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%s lacks %s", out, want)
		}
	}
	if strings.Contains(out+r.errs.String(), "hushhush") {
		t.Errorf("a value is shown: %s%s", out, r.errs)
	}
	if calls := len(r.crm.Calls()); calls != 0 {
		t.Errorf("%d calls", calls)
	}
	if keys := r.redis.Keys(); len(keys) != 0 {
		t.Errorf("keys in Redis: %v", keys)
	}
	for _, own := range []string{".dlq", ".redrive", ".audit"} {
		topics, err := r.client(t).Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{r.topic() + own}})
		if err != nil || topics.Topics[0].Error == nil {
			t.Errorf("topic %s is there: %v", own, err)
		}
	}
	if groups := r.groups(t); len(groups) != 0 {
		t.Errorf("groups %v", groups)
	}
}

// With values, and as JSON.
func TestDryRunShowsValues(t *testing.T) {
	t.Parallel()
	r := newOpsRig(t)
	r.broker.Produce(t, r.topic(), dryEvents()...)
	out := r.runDry(t, "--show-values", "--note=first mapping", "--actor=sample@host", "-o=json")
	if d := cmp.Diff([]string{"reveal " + r.topic() + " done sample@host first mapping"}, r.topics.audit(t)); d != "" {
		t.Error(d)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	want := []string{
		`{"type":"call","open_user_id":"FSUID_E1","events":1,"user":{"openUserId":"FSUID_E1","position":"hushhush-one","qq":"hushhush-qq"}}`,
		`{"type":"dead_letter","id":"0:1:0` + sampleTime + `","reason":"invalid_field","stage":"map","error":"invalid_field: after.gender is neither M nor F (byte 90)","event_id":"bad","employee_id":"E2"}`,
	}
	for _, line := range want {
		if !strings.Contains(out, line+"\n") {
			t.Errorf("%s lacks %s", out, line)
		}
	}
	var summary struct {
		Type              string
		Calls             int
		Outcomes, Reasons map[string]int
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &summary); err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]int{"applied": 2, "superseded": 1, "unchanged": 0, "duplicate": 1, "ignored": 1, "dead_lettered": 1}
	if d := cmp.Diff(outcomes, summary.Outcomes); d != "" || summary.Calls != 2 || summary.Type != "summary" || summary.Reasons["invalid_field"] != 1 {
		t.Errorf("%+v %s", summary, d)
	}
}

// In the form of the object API too.
func TestDryRunForTheObjectAPI(t *testing.T) {
	t.Parallel()
	r := newService(t)
	r.set("CRM_API", "object")
	r.set("CRM_OBJECT_FIELDS", "account:a1,name:a2,position:a3,email:a4,qq:a5,weixin:a6,attachingDepartmentIds:a7,hireDate:a8,birthDate:a9,startWorkDate:a10")
	r.broker.Produce(t, r.topic(), dryEvents()...)
	if out := r.runDry(t); !strings.Contains(out, `call         FSUID_E1  events 1  {"_id":"FSUID_E1","a3":"***","a5":"***"}`) {
		t.Error(out)
	}
}

func TestDryRunFaults(t *testing.T) {
	t.Parallel()
	r := newService(t)
	if status := r.run(t, "run", "--show-values", "-o", "json"); status != exitUsage {
		t.Errorf("status %d", status)
	}
	r.want(t, "", "membersync run: --show-values: needs --dry-run\nmembersync run: -o: needs --dry-run\n"+
		"membersync run: --note: is required with --show-values: why\n")
	r = newService(t)
	if status := r.run(t, "run", "--dry-run", "--note=x", "--actor=x"); status != exitUsage {
		t.Errorf("status %d", status)
	}
	r.want(t, "", "membersync run: --note: needs --show-values\nmembersync run: --actor: needs --show-values\n")
	r = newService(t)
	r.set("KAFKA_TOPIC", "gone")
	if status := r.run(t, "run", "--dry-run"); status != exitUsage || !strings.Contains(r.errs.String(), "topic gone: unknown topic") || r.out.String() != "" {
		t.Errorf("status %d: %s%s", status, r.out, r.errs)
	}
}

// A dry run shows no value, and does not begin, unless the audit topic has acknowledged the record
// of who looks.
func TestDryRunShowsNoValuesUnlessThatIsRecorded(t *testing.T) {
	t.Parallel()
	r := newService(t) // without the topics of membersync
	r.broker.Produce(t, r.topic(), dryEvents()...)
	status := r.run(t, "run", "--dry-run", "--show-values", "--note=why")
	if status != exitFailed || r.out.String() != "" || !strings.Contains(r.errs.String(), "nothing is revealed") {
		t.Errorf("status %d: %s%s", status, r.out, r.errs)
	}
	if groups := r.groups(t); len(groups) != 0 {
		t.Errorf("groups %v", groups)
	}
}
