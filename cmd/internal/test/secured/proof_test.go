package secured

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"membersync/cmd/internal/test/testbed/servicetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPage runs the proofs on the same servers, those that do not meet each other at the same time.
// Within a part, what is done in one proof is the ground of the next.
func TestPage(t *testing.T) {
	t.Parallel()
	all := open(t)
	for name, part := range map[string]func(*testing.T, *servers){
		"permissions": provePermissions, "rotation": proveRotation, "tokens": proveTokens,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			part(t, all)
		})
	}
}

// provePermissions runs one proof after the other: what is taken away from the on-call user would
// make the commands fail with which the permissions of the service are proven.
func provePermissions(t *testing.T, all *servers) {
	t.Helper()
	t.Run("service", func(t *testing.T) { proveService(t, all) })
	t.Run("on call", func(t *testing.T) { proveOnCall(t, all) })
}

// proveService runs one service, with the names of the page.
func proveService(t *testing.T, all *servers) {
	t.Helper()
	r := all.rig(t, pageTopic, pageGroup)
	own, create := r.acls(service)
	others, _ := r.acls(onCall)
	r.kafka.grant(t, own...)
	r.kafka.grant(t, others...)
	s := r.program.start(t, service, "run")
	t.Run("start", func(t *testing.T) { proveStart(t, r, s, create) })
	t.Run("minimum", func(t *testing.T) { proveMinimum(t, r) })
	t.Run("kafka", func(t *testing.T) { proveServiceAtKafka(t, r, s, own) })
	t.Run("a join without redrives", func(t *testing.T) { proveJoinWithoutRedrives(t, r, s) })
	t.Run("redis", func(t *testing.T) { proveServiceAtRedis(t, r, s) })
	r.stop(t, s)
}

// proveOnCall runs the commands on a topic of their own, whose service lacks nothing.
func proveOnCall(t *testing.T, all *servers) {
	t.Helper()
	r := all.rig(t, "oncall.changed", "group-on-call", "REDIS_USERNAME", adminName, "REDIS_PASSWORD", adminPassword)
	own, create := r.acls(service)
	others, _ := r.acls(onCall)
	r.kafka.grant(t, slices.Concat(own, create, others)...)
	s := r.program.start(t, service, "run")
	r.source.apply(t)
	t.Run("viewer", func(t *testing.T) { proveViewer(t, r, others) })
	t.Run("kafka", func(t *testing.T) { proveOnCallAtKafka(t, r, others) })
	t.Run("redis", func(t *testing.T) { proveOnCallAtRedis(t, r) })
	t.Run("marks come after versions", func(t *testing.T) { proveMarksComeLast(t, r) })
	r.stop(t, s)
	t.Run("redis cluster", func(t *testing.T) { proveCluster(t, r) })
}

// proveStart adds the permissions to create topics one after the other: each one that is missing is
// named by check and by the service, which waits for it.
func proveStart(t *testing.T, r *rig, s *servicetest.Process, create []acl) {
	t.Helper()
	for _, a := range create {
		want := []string{"Create topic " + a.name}
		from := logged(s)
		s.Await(from, `start waits.*may not `+want[0]+`.*cmd/SECURITY.md`)
		r.program.wantCheckFails(t, service, want...)
		r.kafka.grant(t, a)
	}
	r.source.apply(t)
}

// proveMinimum runs every command with what the page grants.
func proveMinimum(t *testing.T, r *rig) {
	t.Helper()
	r.source.apply(t)
	p, id := r.source.deadLetter(t)
	for _, user := range []string{service, onCall} {
		if status, stdout, stderr := r.program.do(t, user, "check"); status != 0 || strings.Contains(stdout, "warning") {
			t.Errorf("check as %s: status %d\n%s%s", user, status, stdout, stderr)
		}
	}
	for _, command := range []string{
		"dlq list", "dlq show " + id, "dlq export --reveal --note test", "pause --yes", "resume --dead-letter-held --yes",
		"explain " + p.employee, "offsets show", "state show " + p.employee,
		"state rebuild --yes", "state forget " + p.employee + " --yes", "replay --from earliest --yes",
		"replay --from earliest --dry-run",
	} {
		r.program.must(t, onCall, strings.Fields(command)...)
	}
	r.redrive(t, p, id)
	r.source.awaitApplied(t, p)
	_, id = r.source.deadLetter(t)
	r.program.must(t, onCall, "dlq", "discard", id, "--note", "test", "--yes")
	r.source.settle(t)
}
