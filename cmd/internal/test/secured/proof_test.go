package secured

import (
	"slices"
	"strings"
	"testing"
)

// TestPage runs the proofs on the same servers, those that do not meet each other at the same time.
// Within a part, what is done in one proof is the ground of the next.
func TestPage(t *testing.T) {
	t.Parallel()
	r := open(t)
	for name, part := range map[string]func(*testing.T, *rig){
		"permissions": provePermissions, "rotation": proveRotation, "tokens": proveTokens,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			part(t, r)
		})
	}
}

// provePermissions runs one proof after the other: what is taken away from the on-call user would
// make the commands fail with which the permissions of the service are proven.
func provePermissions(t *testing.T, r *rig) {
	t.Helper()
	t.Run("service", func(t *testing.T) { proveService(t, r) })
	t.Run("on call", func(t *testing.T) { proveOnCall(t, r) })
}

// proveService runs one service, with the names of the page.
func proveService(t *testing.T, r *rig) {
	t.Helper()
	r = r.with(t, pageTopic, pageGroup)
	own, create := r.acls(service)
	others, _ := r.acls(onCall)
	r.grant(own...)
	r.grant(others...)
	s := r.run(t)
	t.Run("start", func(t *testing.T) { r.proveStart(t, s, create) })
	t.Run("minimum", r.proveMinimum)
	t.Run("kafka", func(t *testing.T) { r.proveServiceAtKafka(t, s, own) })
	t.Run("a join without redrives", func(t *testing.T) { r.proveJoinWithoutRedrives(t, s) })
	t.Run("redis", func(t *testing.T) { r.proveServiceAtRedis(t, s) })
	r.settle(t)
	s.terminate()
	wantOneStart(t, s)
}

// proveOnCall runs the commands on a topic of their own, whose service lacks nothing.
func proveOnCall(t *testing.T, r *rig) {
	t.Helper()
	r = r.with(t, "oncall.changed", "group-on-call", "REDIS_USERNAME", adminName, "REDIS_PASSWORD", adminPassword)
	own, create := r.acls(service)
	others, _ := r.acls(onCall)
	r.grant(slices.Concat(own, create, others)...)
	s := r.run(t)
	r.apply(t)
	t.Run("viewer", func(t *testing.T) { r.proveViewer(t, others) })
	t.Run("kafka", func(t *testing.T) { r.proveOnCallAtKafka(t, others) })
	t.Run("redis", r.proveOnCallAtRedis)
	t.Run("marks come after versions", r.proveMarksComeLast)
	r.settle(t)
	s.terminate()
	wantOneStart(t, s)
	t.Run("redis cluster", r.proveCluster)
}

func wantOneStart(t *testing.T, s *process) {
	t.Helper()
	if n := strings.Count(s.err.String(), "admin server listens"); n != 1 {
		t.Errorf("the service started %d times", n)
	}
}

// proveStart adds the permissions to create topics one after the other: each one that is missing is
// named by check and by the service, which waits for it.
func (r *rig) proveStart(t *testing.T, s *process, create []acl) {
	t.Helper()
	for _, a := range create {
		want := []string{"Create topic " + a.name}
		from := s.logged()
		s.await(from, `start waits.*may not `+want[0]+`.*cmd/SECURITY.md`)
		r.wantCheckFails(t, service, want...)
		r.grant(a)
	}
	r.apply(t)
}

// wantCheckFails runs check, which has to name what is missing.
func (r *rig) wantCheckFails(t *testing.T, user string, texts ...string) {
	t.Helper()
	status, stdout, stderr := r.do(t, user, "check")
	if status != 1 {
		t.Errorf("check without %q: status %d, want 1", texts, status)
	}
	wantDenied(t, "check", append(texts, "failed"), stdout+stderr)
}

// proveMinimum runs every command with what the page grants.
func (r *rig) proveMinimum(t *testing.T) {
	t.Helper()
	r.apply(t)
	p, id := r.deadLetter(t)
	for _, user := range []string{service, onCall} {
		if status, stdout, stderr := r.do(t, user, "check"); status != 0 || strings.Contains(stdout, "warning") {
			t.Errorf("check as %s: status %d\n%s%s", user, status, stdout, stderr)
		}
	}
	for _, command := range []string{
		"dlq list", "dlq show " + id, "dlq export --reveal --note test", "pause --yes", "resume --dead-letter-held --yes",
		"explain " + p.employee, "offsets show", "state show " + p.employee,
		"state rebuild --yes", "state forget " + p.employee + " --yes", "replay --from earliest --yes",
		"replay --from earliest --dry-run",
	} {
		r.must(t, strings.Fields(command)...)
	}
	r.redrive(t, p, id)
	r.awaitApplied(t, p)
	_, id = r.deadLetter(t)
	r.must(t, "dlq", "discard", id, "--note", "test", "--yes")
	r.settle(t)
}
