package secured

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"membersync/cmd/internal/test/testbed/servicetest"
)

// A need is what one permission is needed for.
type need struct {
	// do makes the service need it. It may return a function that waits until it was done.
	do func(*testing.T) (done func(*testing.T))
	// log is what the service then says; cause is that of its pause. Empty: only check says it.
	log, cause string
	// goesOn: the source topic is read all the same.
	goesOn bool
}

// event produces an event of a new member.
func (r *rig) event(*testing.T) func(*testing.T) {
	p := r.newPerson(true)
	r.produce(p, "Sample Clerk")
	return func(t *testing.T) { t.Helper(); r.awaitApplied(t, p) }
}

// rejected produces an event that becomes a dead letter.
func (r *rig) rejected(*testing.T) func(*testing.T) {
	p, before := r.newPerson(false), r.deadLetters()
	r.produce(p, rejectedPosition)
	delete(r.want, p.member)
	return func(t *testing.T) {
		t.Helper()
		servicetest.Eventually(t, "a dead letter", func() bool { return r.deadLetters() > before })
	}
}

// redriven redrives a dead letter, which exists already.
func (r *rig) redriven(p person, id string) func(*testing.T) func(*testing.T) {
	return func(t *testing.T) func(*testing.T) {
		t.Helper()
		r.redrive(t, p, id, "--wait", "1ms")
		return func(t *testing.T) {
			t.Helper()
			r.awaitApplied(t, p)
			servicetest.Eventually(t, "the result", func() bool { return strings.Contains(r.must(t, "dlq", "list", "--state=applied"), p.employee) })
		}
	}
}

// needs are those of the service at Kafka.
func (r *rig) needs(t *testing.T, a acl) need {
	t.Helper()
	if a.operation == "DescribeConfigs" {
		return need{}
	}
	name := strings.TrimPrefix(a.name, r.topic)
	switch {
	case a.resource == "group":
		return need{do: r.event, log: `cannot join the consumer group.*may not Read group membersync:`, cause: "kafka"}
	case name == "":
		return need{do: r.event, log: `may not (Read|Describe) topic ` + a.name + `:`, cause: "kafka"}
	case name == ".dlq" && a.operation == "Write":
		return need{do: r.rejected, log: `dead letter not written.*may not Write topic ` + a.name + `:`, cause: "dlq", goesOn: true}
	}
	n := need{do: r.redriven(r.deadLetter(t)), goesOn: true}
	switch {
	case name == ".redrive":
		n.log, n.cause = `may not (Read|Describe) topic `+a.name+`:`, "kafka"
	case a.operation == "Read":
		n.log, n.cause = `redrives wait.*may not (Read|Describe) topic `+a.name+`:`, "dlq"
	default:
		n.log, n.cause = `result of a redrive not recorded.*may not Write topic `+a.name+`:`, "dlq"
	}
	return n
}

// proveServiceAtKafka takes each permission away while the service runs. The service pauses, names
// what is missing, and continues when it is back.
func (r *rig) proveServiceAtKafka(t *testing.T, s *process, own []acl) {
	t.Helper()
	for _, a := range own {
		t.Run(a.String(), func(t *testing.T) {
			n := r.needs(t, a)
			from := s.logged()
			r.revoke(a)
			r.wantCheckFails(t, service, a.String())
			if n.do == nil {
				r.grant(a)
				return
			}
			done := n.do(t)
			if text := s.await(from, n.log+`.*`); !strings.Contains(text, "cmd/SECURITY.md") {
				t.Errorf("it does not say what to do: %s", text)
			}
			servicetest.Eventually(t, "a pause for "+n.cause, func() bool { return s.isPaused(n.cause) })
			if n.goesOn {
				r.apply(t)
			}
			r.grant(a)
			done(t)
			servicetest.Eventually(t, "the end of the pause for "+n.cause, func() bool { return !s.isPaused(n.cause) })
		})
	}
	r.settle(t)
}

// proveJoinWithoutRedrives lets the group be joined while the redrive topic may not be read: the
// end of a second instance makes the first one join again. Other events do not wait.
func (r *rig) proveJoinWithoutRedrives(t *testing.T, s *process) {
	t.Helper()
	a := acl{"User:" + service, "topic", r.topic + ".redrive", "Read", false}
	p, id := r.deadLetter(t)
	second := r.run(t)
	second.await(0, "joined the group")
	from := s.logged()
	r.revoke(a)
	defer r.settle(t)
	defer r.awaitApplied(t, p)
	defer r.grant(a)
	r.redrive(t, p, id, "--wait", "1ms")
	second.terminate()
	s.await(from, "redrives wait for it, other events do not.*may not Describe topic "+a.name)
	for range 2 { // of both partitions
		r.apply(t)
	}
}

// proveViewer runs what a principal can do that only looks.
func (r *rig) proveViewer(t *testing.T, others []acl) {
	t.Helper()
	for _, a := range others {
		if a.operation != "Read" || a.prefixed {
			continue
		}
		if a.principal = "User:" + viewer; a.resource == "group" {
			a.operation = "Describe"
		}
		r.grant(a)
	}
	p, id := r.deadLetter(t)
	for _, command := range []string{
		"dlq list", "dlq show " + id, "dlq export", "explain " + p.employee, "offsets show", "state show " + p.employee,
		"replay --from earliest --dry-run",
	} {
		r.mustAs(t, viewer, strings.Fields(command)...)
	}
	for command, missing := range map[string]string{
		"dlq show " + id + " --reveal --note test": "Write topic " + r.topic + ".audit",
		"dlq discard " + id + " --note test --yes": "Write topic " + r.topic + ".audit",
		"dlq redrive " + id + " --yes":             "Write topic " + r.topic + ".audit",
	} {
		status, stdout, stderr := r.do(t, viewer, strings.Fields(command)...)
		if status == 0 || strings.Contains(stdout, rejectedPosition) {
			t.Errorf("%s: status %d: %s", command, status, stdout)
		}
		wantDenied(t, command, []string{"may not " + missing}, stdout+stderr)
	}
	r.redrive(t, p, id)
	r.awaitApplied(t, p)
}

// proveOnCallAtKafka takes each permission away and runs a command that needs it.
func (r *rig) proveOnCallAtKafka(t *testing.T, others []acl) {
	t.Helper()
	p, id := r.deadLetter(t)
	for _, a := range others {
		t.Run(a.String(), func(t *testing.T) {
			r.revoke(a)
			switch command, texts := r.commandFor(a, p, id); {
			case a == (acl{"User:" + onCall, "topic", r.topic + ".dlq", "Write", false}):
				r.proveReplayWaits(t, a, texts)
				return // it has granted it
			case command == "":
				t.Error("no command is known that needs it")
			case command == "run --dry-run":
				r.proveDryRun(t, a, texts)
			default:
				status, stdout, stderr := r.do(t, onCall, strings.Fields(command)...)
				if status == 0 && !a.prefixed { // a replay without offsets of its own runs all the same
					t.Errorf("%s: status 0", command)
				}
				wantOneOf(t, command, texts, stdout+stderr)
			}
			r.grant(a)
		})
	}
	r.redrive(t, p, id)
	r.awaitApplied(t, p)
}

// proveReplayWaits runs a replay that rejects an event. Like the service, it says what is missing,
// and continues when it is back.
func (r *rig) proveReplayWaits(t *testing.T, a acl, texts []string) {
	t.Helper()
	p := r.newPerson(true)
	r.produce(p, "Sample Clerk")
	r.awaitApplied(t, p)
	delete(r.want, p.member)
	r.settle(t)
	r.must(t, "state", "forget", p.employee, "--yes")
	r.crm.RemoveMember(p.member)
	before := r.deadLetters()
	replay := launch(t, r.binary, r.environ(onCall), "replay", "--from", "earliest", "--employee", p.employee, "--yes")
	replay.await(0, texts[0]+".*cmd/SECURITY.md")
	r.grant(a)
	if status := replay.status(); status != 0 {
		t.Errorf("the replay: status %d: %s", status, replay.err.String())
	}
	if n := r.deadLetters() - before; n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}

// proveDryRun runs the service without effects until it has said what is missing.
func (r *rig) proveDryRun(t *testing.T, a acl, texts []string) {
	t.Helper()
	dry := launch(t, r.binary, r.environ(onCall), "run", "--dry-run")
	if a.operation == "Delete" {
		dry.await(0, "joined the group")
	} else {
		dry.await(0, "cannot join")
	}
	dry.terminate()
	wantOneOf(t, "run --dry-run", texts, dry.out.String()+dry.err.String())
}

// commandFor returns a command that needs a permission, and what it names.
func (r *rig) commandFor(a acl, p person, id string) (command string, texts []string) {
	texts = []string{"may not " + a.String()}
	if a.operation == "Read" { // which includes Describe
		texts = append(texts, fmt.Sprintf("may not Describe %s %s", a.resource, a.name))
	}
	switch a.operation + " " + a.resource + " " + strings.TrimPrefix(strings.TrimPrefix(a.name, r.topic), r.group) {
	case "Read topic ":
		return "explain " + p.employee, texts
	case "Read topic .redrive":
		return "replay --from earliest --dry-run", texts
	case "Read topic .dlq", "Read topic .audit":
		return "dlq list", texts
	case "Write topic .dlq":
		return "replay", texts
	case "Write topic .redrive":
		return "dlq redrive " + id + " --yes", texts
	case "Write topic .audit":
		return "pause --for 1s --yes", texts
	case "DescribeConfigs topic ", "DescribeConfigs topic .dlq", "DescribeConfigs topic .redrive", "Read group ":
		return "check", []string{a.String()}
	case "Read group .replay.", "Delete group .replay.":
		return "replay --from earliest --yes", texts
	case "Read group .dry-run.", "Delete group .dry-run.":
		return "run --dry-run", texts
	}
	return "", nil
}

// wantOneOf wants one of the texts, and the page.
func wantOneOf(t *testing.T, what string, texts []string, output string) {
	t.Helper()
	named := slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(output, text) })
	if !named || !strings.Contains(output, "cmd/SECURITY.md") {
		t.Errorf("%s: the output has none of %q, or not the page:\n%s", what, texts, output)
	}
}
