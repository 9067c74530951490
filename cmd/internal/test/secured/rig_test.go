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

	"membersync/cmd/internal/test/testbed"
	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/cmd/internal/wiring/credentials/certtest"
	"membersync/crmapi/crmapitest"
	"membersync/dlq/kafkatest"
)

// What .ci/secured sets: the first of the ports, and a folder for the servers. It also names the
// listener of the test's own clients, as [kafkatest.Env].
const (
	portEnv = "MEMBERSYNC_TEST_SECURED"
	dirEnv  = "MEMBERSYNC_TEST_SECURED_DIR"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The names of the page, and those of the CRM.
const (
	pageTopic, pageGroup = "hris.employee.changed", "membersync"
	corp, token          = "CORP_TEST", "TOKEN_TEST"
)

// The servers are shared by all rigs.
type servers struct {
	root, dir string
	port      int
	binary    string
	ca        *certtest.Authority
	caFile    string
	page      page
	broker    *kafkatest.Broker
	admin     *kgo.Client
	redis     *redis.Client
	crm       *crmapitest.Server
	crmURL    string
	issuer    *issuer
}

// A rig is the servers and a source topic. One goroutine uses it.
type rig struct {
	*servers
	t               *testing.T
	topic, group    string
	variables       map[string]string // of the services, without MEMBERSYNC_
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
	r := &rig{t: t, servers: &servers{
		root: root, dir: os.Getenv(dirEnv), port: port, ca: certtest.NewAuthority(t), page: readPage(t, root),
	}}
	r.caFile = write(t, r.dir, "ca.pem", r.ca.PEM)
	built := r.build()
	r.startCRM()
	r.startIssuer()
	r.redis = r.startRedis("redis", portRedis, "no")
	r.startKafka()
	r.broker = kafkatest.Start(t)
	if r.admin, err = kgo.NewClient(kgo.SeedBrokers(r.address(portAdmin))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.admin.Close)
	for _, name := range []string{service, onCall, viewer} {
		r.setKafkaPassword(name, password)
	}
	r.setUser(service)
	r.setUser(onCall)
	built()
	return r
}

// with returns a rig on the same servers with a topic and a group of its own. The pairs of names
// and values given are variables of its services.
func (r *rig) with(t *testing.T, topic, group string, pairs ...string) *rig {
	t.Helper()
	own := &rig{t: t, servers: r.servers, topic: topic, group: group, variables: map[string]string{}, want: map[string]string{}}
	for i := 0; i+1 < len(pairs); i += 2 {
		own.variables[pairs[i]] = pairs[i+1]
	}
	r.broker.Create(t, topic, 2)
	return own
}

// build builds the binary while the servers start. The function that it returns waits for it.
func (r *rig) build() (wait func()) {
	r.t.Helper()
	r.binary = filepath.Join(r.dir, "membersync")
	cmd := exec.CommandContext(context.WithoutCancel(r.t.Context()), "go", "build", "-race", "-o", r.binary, "membersync/cmd/membersync") //nolint:gosec // fixed words
	var out servicetest.Output
	cmd.Stdout, cmd.Stderr = &out, &out
	built, err := testbed.StartProcess(cmd)
	if err != nil {
		r.t.Fatal(err)
	}
	return func() {
		r.t.Helper()
		if <-built.Done(); !built.State().Success() {
			r.t.Fatalf("building: %v\n%s", built.State(), out.String())
		}
	}
}

// environ are the variables of a process that logs in as the user.
func (r *rig) environ(user string) map[string]string {
	redisUser := user
	if user == viewer {
		redisUser = onCall
	}
	variables := map[string]string{
		"KAFKA_BROKERS": r.address(portKafka), "KAFKA_TOPIC": r.topic, "KAFKA_GROUP": r.group,
		"KAFKA_TLS": "true", "KAFKA_TLS_CA_FILE": r.caFile, "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
		"KAFKA_SASL_USERNAME": user, "KAFKA_SASL_PASSWORD": password,
		"REDIS_URL": "rediss://" + r.address(portRedis) + "/0", "REDIS_TLS_CA_FILE": r.caFile,
		"REDIS_USERNAME": redisUser, "REDIS_PASSWORD": password,
		"STATE_KEY":    "a made-up state key of more than 32 bytes",
		"CRM_BASE_URL": r.crmURL, "CRM_CORP_ID": corp, "CRM_TOKEN": token, "CRM_TLS_CA_FILE": r.caFile,
		"CRM_RATE": "1000/10s", "ADMIN_ADDR": "127.0.0.1:0",
	}
	if user == service {
		maps.Copy(variables, r.variables)
	}
	// An empty value is as good as given, and some variables exclude others.
	maps.DeleteFunc(variables, func(_, value string) bool { return value == "" })
	return variables
}

// run starts the service.
func (r *rig) run(t *testing.T) *process {
	t.Helper()
	return launch(t, r.binary, r.environ(service), "run")
}

// do runs a command as a user to its end. It must take seconds.
func (r *rig) do(t *testing.T, user string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	began := time.Now()
	p := launch(t, r.binary, r.environ(user), args...)
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
	p := person{fmt.Sprintf("E%04d", r.people), fmt.Sprintf("FSUID_TEST_%s_%04d", r.group, r.people)}
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
	r.broker.Produce(r.t, r.topic, kafka.Message{Partition: r.members % 2, Key: []byte(p.employee), Value: []byte(value)})
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
	servicetest.Eventually(t, "the position of "+p.member, func() bool { return r.position(p) == r.want[p.member] })
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

// deadLetter produces an event of a member that the CRM does not know, waits for its dead letter,
// and makes the member known. It returns the dead letter's id.
func (r *rig) deadLetter(t *testing.T) (person, string) {
	t.Helper()
	p := r.newPerson(false)
	before := r.deadLetters()
	r.produce(p, rejectedPosition)
	delete(r.want, p.member) // until a redrive
	servicetest.Eventually(t, "a dead letter", func() bool { return r.deadLetters() > before })
	r.crm.SetMember(p.member, nil)
	return p, r.idOf(t, p)
}

func (r *rig) deadLetters() int { return len(r.broker.ReadAll(r.t, r.topic+".dlq")) }

func (r *rig) idOf(t *testing.T, p person) string {
	t.Helper()
	for _, m := range r.broker.ReadAll(t, r.topic+".dlq") {
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

// settle waits until the group has committed everything, so that nothing is lost, and compares
// the CRM with what it should hold.
func (r *rig) settle(t *testing.T) {
	t.Helper()
	for _, name := range []string{r.topic, r.topic + ".redrive"} {
		servicetest.Eventually(t, "the lag of "+name+" to end", func() bool { return r.broker.Lag(t, r.group, name) == 0 })
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
