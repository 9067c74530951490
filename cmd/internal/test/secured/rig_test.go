package secured

import (
	"slices"
	"strings"
	"testing"

	"membersync/cmd/internal/test/testbed/servicetest"
)

// A rig is the servers with a topic and a group of its own. One goroutine uses it.
type rig struct {
	*servers
	topic, group string
	program      *program // membersync, as the service and as a command
	source       *source  // the events, and what the CRM should hold after them
}

// rig returns a rig on the servers. The pairs of names and values given are variables of its
// services.
func (s *servers) rig(t *testing.T, topic, group string, pairs ...string) *rig {
	t.Helper()
	s.kafka.Create(t, topic, 2)
	variables := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		variables[pairs[i]] = pairs[i+1]
	}
	return &rig{
		servers: s, topic: topic, group: group,
		program: &program{servers: s, topic: topic, group: group, variables: variables},
		source:  &source{servers: s, topic: topic, group: group, want: map[string]string{}},
	}
}

// grantService gives a user at Kafka what the page gives the service.
func (r *rig) grantService(t *testing.T, user string) {
	t.Helper()
	own, create := r.acls(service)
	for _, a := range slices.Concat(own, create) {
		a.principal = "User:" + user
		r.kafka.grant(t, a)
	}
}

// redrive redrives a dead letter, whose member the CRM knows by now.
func (r *rig) redrive(t *testing.T, p person, id string, args ...string) {
	t.Helper()
	r.source.want[p.member] = rejectedPosition
	status, stdout, stderr := r.program.do(t, onCall, append([]string{"dlq", "redrive", id, "--yes"}, args...)...)
	if status != 0 && len(args) == 0 {
		t.Errorf("dlq redrive: status %d: %s%s", status, stdout, stderr)
	}
}

// stop stops a service after the last event. It must have run since it was started.
func (r *rig) stop(t *testing.T, s *servicetest.Process) {
	t.Helper()
	r.source.settle(t)
	s.Stop()
	if n := strings.Count(s.Err.String(), "admin server listens"); n != 1 {
		t.Errorf("the service started %d times", n)
	}
}

// wantNoDeadLetters wants every event to have been applied.
func (r *rig) wantNoDeadLetters(t *testing.T) {
	t.Helper()
	if n := r.source.deadLetters(t); n != 0 {
		t.Errorf("%d dead letters", n)
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
