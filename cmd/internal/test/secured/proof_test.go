package secured

import (
	"strings"
	"testing"
)

// TestPermissions runs one service through all proofs, in this order: what is done in one is the
// ground of the next.
//
//nolint:paralleltest // it starts servers on given ports
func TestPermissions(t *testing.T) {
	r := open(t)
	own, create := r.page.of(service)
	others, _ := r.page.of(onCall)
	r.grant(own...)
	r.grant(others...)
	r.setUser(service)
	r.setUser(onCall)
	s := r.run(t)
	t.Run("start", func(t *testing.T) { r.proveStart(t, s, create) })
	t.Run("minimum", r.proveMinimum)
	t.Run("kafka for the service", func(t *testing.T) { r.proveServiceAtKafka(t, s, own) })
	t.Run("a join without redrives", func(t *testing.T) { r.proveJoinWithoutRedrives(t, s) })
	t.Run("viewer", func(t *testing.T) { r.proveViewer(t, others) })
	t.Run("kafka on call", func(t *testing.T) { r.proveOnCallAtKafka(t, others) })
	t.Run("redis for the service", func(t *testing.T) { r.proveServiceAtRedis(t, s) })
	t.Run("redis on call", r.proveOnCallAtRedis)
	t.Run("marks come after versions", r.proveMarksComeLast)
	r.settle(t)
	s.terminate()
	t.Run("redis cluster", r.proveCluster)
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
		from := len(s.err.String())
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
