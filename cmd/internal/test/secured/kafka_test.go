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
	do func(*testing.T, *rig) (done func(*testing.T))
	// log is what the service then says; cause is that of its pause. Empty: only check says it.
	log, cause string
	// goesOn: the source topic is read all the same.
	goesOn bool
}

// event produces an event of a member that the CRM knows.
func event(t *testing.T, r *rig) (done func(*testing.T)) {
	t.Helper()
	p := r.source.event(t)
	return func(t *testing.T) { t.Helper(); r.source.awaitApplied(t, p) }
}

// rejected produces an event that becomes a dead letter.
func rejected(t *testing.T, r *rig) (done func(*testing.T)) {
	t.Helper()
	_, done = r.source.reject(t)
	return done
}

// redriven redrives a dead letter, which exists already.
func redriven(p person, id string) func(*testing.T, *rig) func(*testing.T) {
	return func(t *testing.T, r *rig) func(*testing.T) {
		t.Helper()
		r.redrive(t, p, id, "--wait", "1ms")
		return func(t *testing.T) {
			t.Helper()
			r.source.awaitApplied(t, p)
			servicetest.Eventually(t, "the result", func() bool {
				return strings.Contains(r.program.must(t, onCall, "dlq", "list", "--state=applied"), p.employee)
			})
		}
	}
}

// needs are those of the service at Kafka.
func needs(t *testing.T, r *rig, a acl) need {
	t.Helper()
	if a.operation == "DescribeConfigs" {
		return need{}
	}
	name := strings.TrimPrefix(a.name, r.topic)
	switch {
	case a.resource == "group":
		return need{do: event, log: `cannot join the consumer group.*may not Read group membersync:`, cause: "kafka"}
	case name == "":
		return need{do: event, log: `may not (Read|Describe) topic ` + a.name + `:`, cause: "kafka"}
	case name == ".dlq" && a.operation == "Write":
		return need{do: rejected, log: `dead letter not written.*may not Write topic ` + a.name + `:`, cause: "dlq", goesOn: true}
	}
	n := need{do: redriven(r.source.deadLetter(t)), goesOn: true}
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
func proveServiceAtKafka(t *testing.T, r *rig, s *servicetest.Process, own []acl) {
	t.Helper()
	for _, a := range own {
		t.Run(a.String(), func(t *testing.T) {
			n := needs(t, r, a)
			from := logged(s)
			r.kafka.revoke(t, a)
			r.program.wantCheckFails(t, service, a.String())
			if n.do == nil {
				r.kafka.grant(t, a)
				return
			}
			done := n.do(t, r)
			if text := s.Await(from, n.log+`.*`)[0]; !strings.Contains(text, "cmd/SECURITY.md") {
				t.Errorf("it does not say what to do: %s", text)
			}
			servicetest.Eventually(t, "a pause for "+n.cause, func() bool { return isPaused(t, s, n.cause) })
			if n.goesOn {
				r.source.apply(t)
			}
			r.kafka.grant(t, a)
			done(t)
			servicetest.Eventually(t, "the end of the pause for "+n.cause, func() bool { return !isPaused(t, s, n.cause) })
		})
	}
	r.source.settle(t)
}

// proveJoinWithoutRedrives lets the group be joined while the redrive topic may not be read: the
// end of a second instance makes the first one join again. Other events do not wait.
func proveJoinWithoutRedrives(t *testing.T, r *rig, s *servicetest.Process) {
	t.Helper()
	a := acl{"User:" + service, "topic", r.topic + ".redrive", "Read", false}
	p, id := r.source.deadLetter(t)
	second := r.program.start(t, service, "run")
	second.Await(0, "joined the group")
	from := logged(s)
	r.kafka.revoke(t, a)
	defer r.source.settle(t)
	defer r.source.awaitApplied(t, p)
	defer r.kafka.grant(t, a)
	r.redrive(t, p, id, "--wait", "1ms")
	second.Stop()
	s.Await(from, "redrives wait for it, other events do not.*may not Describe topic "+a.name)
	for range 2 { // of both partitions
		r.source.apply(t)
	}
}

// proveViewer runs what a principal can do that only looks.
func proveViewer(t *testing.T, r *rig, others []acl) {
	t.Helper()
	for _, a := range others {
		if a.operation != "Read" || a.prefixed {
			continue
		}
		if a.principal = "User:" + viewer; a.resource == "group" {
			a.operation = "Describe"
		}
		r.kafka.grant(t, a)
	}
	p, id := r.source.deadLetter(t)
	for _, command := range []string{
		"dlq list", "dlq show " + id, "dlq export", "explain " + p.employee, "offsets show", "state show " + p.employee,
		"replay --from earliest --dry-run",
	} {
		r.program.must(t, viewer, strings.Fields(command)...)
	}
	for command, missing := range map[string]string{
		"dlq show " + id + " --reveal --note test": "Write topic " + r.topic + ".audit",
		"dlq discard " + id + " --note test --yes": "Write topic " + r.topic + ".audit",
		"dlq redrive " + id + " --yes":             "Write topic " + r.topic + ".audit",
	} {
		status, stdout, stderr := r.program.do(t, viewer, strings.Fields(command)...)
		if status == 0 || strings.Contains(stdout, rejectedPosition) {
			t.Errorf("%s: status %d: %s", command, status, stdout)
		}
		wantDenied(t, command, []string{"may not " + missing}, stdout+stderr)
	}
	r.redrive(t, p, id)
	r.source.awaitApplied(t, p)
}

// proveOnCallAtKafka takes each permission away and runs a command that needs it.
func proveOnCallAtKafka(t *testing.T, r *rig, others []acl) {
	t.Helper()
	p, id := r.source.deadLetter(t)
	for _, a := range others {
		t.Run(a.String(), func(t *testing.T) {
			r.kafka.revoke(t, a)
			switch command, texts := commandFor(r, a, p, id); {
			case a == (acl{"User:" + onCall, "topic", r.topic + ".dlq", "Write", false}):
				proveReplayWaits(t, r, a, texts)
				return // it has granted it
			case command == "":
				t.Error("no command is known that needs it")
			case command == "run --dry-run":
				proveDryRun(t, r, a, texts)
			default:
				status, stdout, stderr := r.program.do(t, onCall, strings.Fields(command)...)
				if status == 0 && !a.prefixed { // a replay without offsets of its own runs all the same
					t.Errorf("%s: status 0", command)
				}
				wantOneOf(t, command, texts, stdout+stderr)
			}
			r.kafka.grant(t, a)
		})
	}
	r.redrive(t, p, id)
	r.source.awaitApplied(t, p)
}

// proveReplayWaits runs a replay that rejects an event. Like the service, it says what is missing,
// and continues when it is back.
func proveReplayWaits(t *testing.T, r *rig, a acl, texts []string) {
	t.Helper()
	p := r.source.apply(t)
	delete(r.source.want, p.member)
	r.source.settle(t)
	r.program.must(t, onCall, "state", "forget", p.employee, "--yes")
	r.crm.RemoveMember(p.member)
	before := r.source.deadLetters(t)
	replay := r.program.start(t, onCall, "replay", "--from", "earliest", "--employee", p.employee, "--yes")
	replay.Await(0, texts[0]+".*cmd/SECURITY.md")
	r.kafka.grant(t, a)
	if status := replay.Status(); status != 0 {
		t.Errorf("the replay: status %d: %s", status, replay.Err.String())
	}
	if n := r.source.deadLetters(t) - before; n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
}

// proveDryRun runs the service without effects until it has said what is missing.
func proveDryRun(t *testing.T, r *rig, a acl, texts []string) {
	t.Helper()
	dry := r.program.start(t, onCall, "run", "--dry-run")
	if a.operation == "Delete" {
		dry.Await(0, "joined the group")
	} else {
		dry.Await(0, "cannot join")
	}
	dry.Stop()
	wantOneOf(t, "run --dry-run", texts, dry.Out.String()+dry.Err.String())
}

// commandFor returns a command that needs a permission, and what it names.
func commandFor(r *rig, a acl, p person, id string) (command string, texts []string) {
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
