package secured

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"membersync/crmapi/crmapitest"
	"membersync/dlq/kafkatest"
)

// What .ci/secured sets: the first of the ports, and a folder for the servers.
const (
	portEnv = "MEMBERSYNC_TEST_SECURED"
	dirEnv  = "MEMBERSYNC_TEST_SECURED_DIR"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The names of the page, and those of the CRM.
const (
	topic, group = "hris.employee.changed", "membersync"
	corp, token  = "CORP_TEST", "TOKEN_TEST"
)

// A rig is the servers and the binary.
type rig struct {
	t               *testing.T
	root, dir       string
	port            int
	binary          string
	ca              *authority
	caFile          string
	page            page
	broker          *kafkatest.Broker
	admin           *kgo.Client
	redis           *redis.Client
	users           map[string]bool // of Redis, that exist
	crm             *crmapitest.Server
	crmURL          string
	members, people int               // how many events there were, and members for them
	want            map[string]string // by member: the position that the CRM should hold
}

// open starts everything, and skips the test outside of .ci/secured.
func open(t *testing.T) *rig {
	t.Helper()
	port, err := strconv.Atoi(os.Getenv(portEnv))
	if err != nil {
		t.Skip("run .ci/secured test")
	}
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, root: root, dir: os.Getenv(dirEnv), port: port, ca: newAuthority(t), page: readPage(t, root),
		users: map[string]bool{}, want: map[string]string{},
	}
	r.caFile = write(t, r.dir, "ca.pem", r.ca.pem)
	r.build()
	r.startCRM()
	r.startRedis()
	r.startKafka()
	t.Setenv(kafkatest.Env, r.address(portAdmin))
	r.broker = kafkatest.Start(t)
	if r.admin, err = kgo.NewClient(kgo.SeedBrokers(r.address(portAdmin))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.admin.Close)
	r.addKafkaUsers()
	r.broker.Create(t, topic, 2)
	return r
}

func (r *rig) build() {
	r.t.Helper()
	r.binary = filepath.Join(r.dir, "membersync")
	cmd := exec.CommandContext(context.WithoutCancel(r.t.Context()), "go", "build", "-race", "-o", r.binary, "membersync/cmd/membersync") //nolint:gosec // fixed words
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("building: %v\n%s", err, out)
	}
}

// environ is the environment of a process that logs in as the user.
func (r *rig) environ(user string, more map[string]string) []string {
	redisUser := user
	if user == viewer {
		redisUser = onCall
	}
	variables := map[string]string{
		"MEMBERSYNC_KAFKA_BROKERS": r.address(portKafka), "MEMBERSYNC_KAFKA_TOPIC": topic, "MEMBERSYNC_KAFKA_GROUP": group,
		"MEMBERSYNC_KAFKA_TLS": "true", "MEMBERSYNC_KAFKA_TLS_CA_FILE": r.caFile,
		"MEMBERSYNC_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
		"MEMBERSYNC_KAFKA_SASL_USERNAME":  user, "MEMBERSYNC_KAFKA_SASL_PASSWORD": password,
		"MEMBERSYNC_REDIS_URL": "rediss://" + r.address(portRedis) + "/0", "MEMBERSYNC_REDIS_USERNAME": redisUser,
		"MEMBERSYNC_REDIS_PASSWORD": password, "MEMBERSYNC_STATE_KEY": "a made-up state key of more than 32 bytes",
		"MEMBERSYNC_CRM_BASE_URL": r.crmURL, "MEMBERSYNC_CRM_CORP_ID": corp, "MEMBERSYNC_CRM_TOKEN": token,
		"MEMBERSYNC_CRM_RATE": "1000/10s", "MEMBERSYNC_ADMIN_ADDR": "127.0.0.1:0",
		"MEMBERSYNC_REDIS_TLS_CA_FILE": r.caFile, "MEMBERSYNC_CRM_TLS_CA_FILE": r.caFile,
	}
	maps.Copy(variables, more)
	if strings.HasPrefix(variables["MEMBERSYNC_REDIS_URL"], "redis://") {
		delete(variables, "MEMBERSYNC_REDIS_TLS_CA_FILE")
	}
	return environment(variables)
}

// run starts the service.
func (r *rig) run(t *testing.T) *process {
	t.Helper()
	return launch(t, r.binary, r.environ(service, nil), "run")
}

// do runs a command as a user to its end. It must take seconds.
func (r *rig) do(t *testing.T, user string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	began := time.Now()
	p := launch(t, r.binary, r.environ(user, nil), args...)
	status = p.status()
	took := time.Since(began)
	t.Logf("%s: %q: status %d in %.1f s", user, args, status, took.Seconds())
	if took > quickly {
		t.Errorf("%s: %q took %v, want less than %v", user, args, took, quickly)
	}
	return status, p.out.String(), p.err.String()
}

// quickly is within how much time a command has to end, and a service to say what is missing.
const quickly = 20 * time.Second

// must runs a command as the on-call user, which has to succeed.
func (r *rig) must(t *testing.T, args ...string) string {
	t.Helper()
	return r.mustAs(t, onCall, args...)
}

// mustAs runs a command as a user, which has to succeed.
func (r *rig) mustAs(t *testing.T, user string, args ...string) string {
	t.Helper()
	status, stdout, stderr := r.do(t, user, args...)
	if status != 0 {
		t.Errorf("%s: %q: status %d: %s%s", user, args, status, stdout, stderr)
	}
	return stdout
}

// A person is an employee with a member id.
type person struct{ employee, member string }

func (r *rig) newPerson(known bool) person {
	r.people++
	p := person{fmt.Sprintf("E%04d", r.people), fmt.Sprintf("FSUID_TEST%04d", r.people)}
	if known {
		r.crm.SetMember(p.member, nil)
	}
	return p
}

// produce writes an event that sets the position.
func (r *rig) produce(p person, position string) {
	r.t.Helper()
	r.members++
	value := fmt.Sprintf(`{"eventId":"ev-%d","sequence":%d,"employeeId":%q,"openUserId":%q,"after":{"position":%q}}`,
		r.members, r.members, p.employee, p.member, position)
	r.broker.Produce(r.t, topic, kafka.Message{Partition: r.members % 2, Key: []byte(p.employee), Value: []byte(value)})
	r.want[p.member] = position
}

// position is what the CRM holds.
func (r *rig) position(p person) string {
	var text string
	_ = json.Unmarshal(r.crm.State(p.member)["position"], &text)
	return text
}

// awaitApplied waits until the CRM holds what was produced last for a person.
func (r *rig) awaitApplied(t *testing.T, p person) {
	t.Helper()
	eventually(t, "the position of "+p.member, func() bool { return r.position(p) == r.want[p.member] })
}

// apply produces an event of a new member, and waits for its effect.
func (r *rig) apply(t *testing.T) {
	t.Helper()
	p := r.newPerson(true)
	r.produce(p, "Sample Clerk")
	r.awaitApplied(t, p)
}

const rejectedPosition = "Sample Lead"

// redrive redrives a dead letter, whose member the CRM knows by now.
func (r *rig) redrive(t *testing.T, p person, id string, args ...string) {
	t.Helper()
	r.want[p.member] = rejectedPosition
	status, stdout, stderr := r.do(t, onCall, append([]string{"dlq", "redrive", id, "--yes"}, args...)...)
	if status != 0 && len(args) == 0 {
		t.Errorf("dlq redrive: status %d: %s%s", status, stdout, stderr)
	}
}

// deadLetter produces an event of a member that the CRM does not know, waits for its dead letter, and
// makes the member known. It returns the dead letter's id.
func (r *rig) deadLetter(t *testing.T) (person, string) {
	t.Helper()
	p := r.newPerson(false)
	before := r.deadLetters()
	r.produce(p, rejectedPosition)
	delete(r.want, p.member) // until a redrive
	eventually(t, "a dead letter", func() bool { return r.deadLetters() > before })
	r.crm.SetMember(p.member, nil)
	return p, r.idOf(t, p)
}

func (r *rig) deadLetters() int { return len(r.broker.ReadAll(r.t, topic+".dlq")) }

func (r *rig) idOf(t *testing.T, p person) string {
	t.Helper()
	for _, m := range r.broker.ReadAll(t, topic+".dlq") {
		facts := map[string]string{}
		for _, h := range m.Headers {
			facts[h.Key] = string(h.Value)
		}
		if facts["dlq.employee.id"] == p.employee {
			return facts["dlq.id"]
		}
	}
	t.Fatalf("no dead letter of %s", p.employee)
	return ""
}

// settle waits until the group has committed everything, so that nothing is lost, and compares the
// CRM with what it should hold.
func (r *rig) settle(t *testing.T) {
	t.Helper()
	for _, name := range []string{topic, topic + ".redrive"} {
		eventually(t, "the lag of "+name+" to end", func() bool { return r.broker.Lag(t, group, name) == 0 })
	}
	for member, position := range r.want {
		if got := r.position(person{member: member}); got != position {
			t.Errorf("the CRM has position %q of %s, want %q", got, member, position)
		}
	}
	if n := r.crm.Overlaps(); n > 0 {
		t.Errorf("%d calls of a member at the same time", n)
	}
}

// wantDenied wants a text that names a permission and the page.
func wantDenied(t *testing.T, what string, texts []string, output string) {
	t.Helper()
	for _, text := range append(texts, "cmd/SECURITY.md") {
		if !strings.Contains(output, text) {
			t.Errorf("%s: the output lacks %q:\n%s", what, text, output)
		}
	}
}
