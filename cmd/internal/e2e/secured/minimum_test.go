package secured

import (
	"testing"
)

// TestTheMinimumSuffices runs the job and the commands with the page's permissions.
func TestPermissions(t *testing.T) {
	r := open(t)
	own, create := r.page.of(service)
	others, _ := r.page.of(onCall)
	r.grant(own...)
	r.grant(others...)
	r.grant(create...)
	r.setUser(service)
	r.setUser(onCall)
	s := r.run(t)
	r.apply(t)
	p, id := r.deadLetter(t)
	r.must(t, "dlq", "redrive", id, "--yes", "--note", "test")
	r.awaitApplied(t, p)
	t.Log(r.must(t, "check"))
	t.Log(r.must(t, "explain", p.employee))
	t.Log(r.must(t, "replay", "--from", "earliest", "--yes"))
	r.settle(t)
	s.terminate()
}
