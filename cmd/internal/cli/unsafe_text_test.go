package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// Whatever text comes from outside, nothing that the program prints, in whatever form, holds a
// character that a terminal could act on or that could reorder or hide text.

// unsafe is such a text: escape sequences, C1 controls, DEL, bidirectional and zero-width marks,
// separators, a tag character, markup, and a line that looks like one of a table.
const unsafe = "u\x1b[2J\x1b]0;title\x07\u009b31m\x7f\r\t\u202eltr\u2066\u2069\u200e\u200f\u061c\u2028\u2029\u200b\ufeff\U000e0041<b>\"&\\u0041\\\n0:9:9  open"

// unsafeCharacters returns what must not be printed of a text.
func unsafeCharacters(text string) (found []rune) {
	for _, r := range text {
		if r != '\n' && !unicode.IsGraphic(r) {
			found = append(found, r)
		}
	}
	return found
}

// quoted is a text as JSON that leaves all characters raw where JSON allows it.
func quoted(text string) string {
	return strings.NewReplacer("\\u2028", "\u2028", "\\u2029", "\u2029", "\\u003c", "<", "\\u003e", ">", "\\u0026", "&").
		Replace(string(jsonOf(text)))
}

func jsonOf(text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // a text
	}
	return b
}

// unsafeEvent is an event with unsafe text wherever the mapping takes text.
func unsafeEvent(id string, sequence int, more string) string {
	u := unsafe
	return fmt.Sprintf(`{"eventId":%s,"sequence":%d,"employeeId":%s,"openUserId":%s,%s:%[5]s,"after":{"position":%[5]s%s}}`,
		quoted(id+u), sequence, quoted("E"+u), quoted(id+u), quoted(u), more)
}

// unsafeOpsRig is an opsRig whose topics, Redis and CRM hold unsafe text; the service has run, and
// its log is returned.
func unsafeOpsRig(t *testing.T, format string) (o *opsRig, log string) {
	t.Helper()
	o = newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	o.set("LOG_LEVEL", "debug")
	o.set("LOG_FORMAT", format)
	o.crm.Push(
		crmapitest.Fault{Member: "applied" + unsafe, Code: -1, Message: unsafe},
		crmapitest.Fault{Member: "refused" + unsafe, Code: 10001, Message: unsafe},
	)
	for i, value := range []string{
		unsafeEvent("poison", 1, `,"gender":"X"`), unsafeEvent("refused", 2, ""), unsafeEvent("applied", 3, ""), `{"` + unsafe,
	} {
		o.broker.Produce(t, o.topics.Source, kafka.Message{
			Key: []byte("E" + unsafe), Value: []byte(value), Time: time.UnixMilli(1_795_334_400_000 + int64(i)),
			Headers: []kafka.Header{{Key: "h" + unsafe, Value: []byte(unsafe)}, {Key: "dlq.error", Value: []byte(unsafe)}},
		})
	}
	end, status := o.background(t)
	o.errs.await(t, "joined the group")
	o.drained(t)
	end(nil)
	if got := <-status; got != exitDone {
		t.Errorf("run ended with %d", got)
	}
	return o, o.errs.String() + o.out.String()
}

// unsafeDeadLetter is a dead letter as something else could have written it.
func unsafeDeadLetter(o *opsRig) kafka.Message {
	d := o.topics.deadLetter(7, dlq.ReasonCRMRejected, 5, 0)
	d.EventID, d.EmployeeID, d.Key, d.Value = "ev"+unsafe, "E"+unsafe, []byte("E"+unsafe), []byte(unsafeEvent("forged", 7, ""))
	m := d.Message()
	for i, h := range m.Headers {
		switch h.Key {
		case "dlq.error", "dlq.crm.code", "dlq.crm.trace.id", "dlq.third.trace.id", "dlq.event.id", "dlq.employee.id", "dlq.group", "dlq.membersync.version":
			m.Headers[i].Value = []byte(unsafe)
		}
	}
	return m
}

// unsafeCommands are command lines of every command. Those that change nothing come first.
func unsafeCommands() [][]string {
	actor, note := "--actor=a"+unsafe, "--note=n"+unsafe
	return [][]string{
		{"dlq", "list", "--state=all"},
		{"dlq", "list", "--state=all", "--group-by=error"},
		{"dlq", "list", "--state=all", "--group-by=employee"},
		{"dlq", "list", "--state=all", "--group-by=code"},
		{"dlq", "show", "0:0:0", "--reveal", actor, note},
		{"dlq", "show", "0:0:0"},
		{"dlq", "show", "0:7:0", "--reveal", actor, note},
		{"dlq", "show", "0:7:0"},
		{"dlq", "show", "0:3", "--reveal", actor, note},
		{"dlq", "export", "--state=all"},
		{"dlq", "export", "--state=all", "--reveal", actor, note},
		{"explain", "E" + unsafe},
		{"state", "show", "E" + unsafe},
		{"offsets", "show"},
		{"check"},
		{"check", "--sample=event.json", "--mapping-only"},
		{"map", "event.json"},
		{"map", "--explain", "event.json", "--key", unsafe, "--header", "h=" + unsafe},
		{"map", "broken.json"},
		{"version"},
		{"config", "--mapping=" + unsafe},
		{"healthcheck", "--config=" + unsafe},
		{"replay", "--from=earliest", "--dry-run"},
		{"replay", "--from=earliest", "--employee=E" + unsafe, "--yes", actor, note},
		{"dlq", "redrive", "--all", "--dry-run"},
		{"dlq", "redrive", "--all", "--yes", actor, note},
		{"dlq", "show", "0:7:0"},
		{"dlq", "discard", "0:7:0", "--yes", actor, note},
		{"dlq", "show", "0:7:0"},
		{"pause", "--yes", actor, note},
		{"pause", "--dry-run", actor, note},
		{"explain", "E" + unsafe},
		{"resume", "--yes", "--dead-letter-held", actor, note},
		{"state", "forget", "E" + unsafe, "--yes", actor, note},
		{"state", "rebuild", "--yes", actor, note},
		{"offsets", "reset", "--to=earliest", "--yes", actor, note},
		{"run"},
		{unsafe},
		{"dlq", unsafe},
		{"dlq", "show", unsafe},
		{"dlq", "list", "--" + unsafe},
		{"dlq", "list", "--reason=" + unsafe},
		{"map", unsafe},
		{"pause", "--for=" + unsafe},
		{"replay", "--from=" + unsafe},
		{"explain", "--employee", unsafe, unsafe},
		{"audit"},
		{"replay", "list"},
		{"replay", "cancel", unsafe, "--yes", "--note=n" + unsafe, "--actor=a" + unsafe},
		{"status"},
		{"ui", "--ui-addr=" + unsafe},
	}
}

func TestNothingUnsafeIsPrinted(t *testing.T) {
	t.Parallel()
	for _, output := range []string{outputTable, outputJSON} {
		t.Run(output, func(t *testing.T) {
			t.Parallel()
			o, log := unsafeOpsRig(t, map[string]string{outputTable: "text", outputJSON: "json"}[output])
			if found := unsafeCharacters(log); len(found) > 0 || !strings.Contains(log, "poison") {
				t.Errorf("the log holds %q: %s", found, log)
			}
			o.app.quiet = time.Millisecond
			o.files["event.json"], o.files["broken.json"] = unsafeEvent("file", 1, ""), `{"`+unsafe
			o.broker.Produce(t, o.topics.DLQ, unsafeDeadLetter(o))
			for _, args := range unsafeCommands() {
				wantSafe(t, o, output, args)
			}
			o.redis.SetError("ERR " + unsafe)
			for _, args := range [][]string{{"explain", "E" + unsafe}, {"state", "show", "E" + unsafe}, {"pause", "--yes"}, {"dlq", "show", "0:7:0"}} {
				wantSafe(t, o, output, args)
			}
		})
	}
}

// wantSafe runs a command in one form of output, and checks what it prints.
func wantSafe(t *testing.T, o *opsRig, output string, args []string) {
	t.Helper()
	args = append(slices.Clone(args), "-o", output)
	if args[0] == "run" {
		wantSafeDryRun(t, o, output)
		return
	}
	_, stdout, stderr := o.do(t, args...)
	if found := unsafeCharacters(stdout + stderr); len(found) > 0 {
		t.Errorf("%q prints %q: %s%s", args, found, stdout, stderr)
	}
	if output == outputTable && strings.Contains("\n"+stdout+stderr, "\n0:9:9") {
		t.Errorf("%q prints a line of the text's own: %s%s", args, stdout, stderr)
	}
	if output == outputJSON {
		for line := range strings.Lines(stdout) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%q prints what is not JSON: %s", args, line)
			}
		}
	}
}

// wantSafeDryRun is wantSafe for the one command that does not end by itself.
func wantSafeDryRun(t *testing.T, o *opsRig, output string) {
	t.Helper()
	_, _, _ = o.do(t, "version") // new outputs
	end, status := o.background(t, "--dry-run", "--show-values", "--note=n"+unsafe, "--actor=a"+unsafe, "-o="+output)
	o.out.await(t, "applied")
	o.errs.await(t, "joined the group")
	end(nil)
	<-status
	if found := unsafeCharacters(o.out.String() + o.errs.String()); len(found) > 0 {
		t.Errorf("run prints %q: %s%s", found, o.out, o.errs)
	}
}

// The command lines above cover every command.
func TestEveryCommandIsGivenUnsafeText(t *testing.T) {
	t.Parallel()
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if !slices.ContainsFunc(unsafeCommands(), func(args []string) bool { return len(args) >= len(words) && slices.Equal(args[:len(words)], words) }) {
			t.Errorf("%s is not among them", c.name)
		}
	}
}

// The JSON with escapes means the same.
func TestEscapesKeepTheMeaningOfJSON(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.broker.Produce(t, o.topics.DLQ, unsafeDeadLetter(o))
	shown := objects(t, o.must(t, "dlq", "show", "0:7:0", "--reveal", "--note=n", "-o", "json"))[0]
	payload, _ := shown["payload"].(map[string]any)
	now, _ := shown["now"].([]any)
	next, _ := now[0].(map[string]any)
	got := []any{shown["key"], payload["eventId"], payload[unsafe], next["event_id"]}
	if d := cmp.Diff([]any{"E" + unsafe, "forged" + unsafe, unsafe, "forged" + unsafe}, got); d != "" {
		t.Error(d)
	}
}

func TestEscapeUnsafe(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain <b> 员工 é 😀\n": "plain <b> 员工 é 😀\n", "": "",
		"\x1b[2J\x7f\t\r\n":                    `\u001b[2J\u007f\u0009\u000d` + "\n",
		"a\u009bb\u202ec\u2028d":               `a\u009bb\u202ec\u2028d`,
		"\x9b \xff":                            `\ufffd \ufffd`,
		"\U000e0041":                           `\udb40\udc41`,
		"\u061c\u200f\u2066\u2069\u200b\ufeff": `\u061c\u200f\u2066\u2069\u200b\ufeff`,
	} {
		if got := string(escapeUnsafe([]byte(text))); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
	plain := []byte("nothing to do")
	if got := escapeUnsafe(plain); &got[0] != &plain[0] {
		t.Error("copied without need")
	}
}

type failingWriter struct{}

var errWrite = errors.New("disk full")

func (failingWriter) Write([]byte) (int, error) { return 0, errWrite }

func TestAnEscapingWriterReportsErrors(t *testing.T) {
	t.Parallel()
	if n, err := (escaping{failingWriter{}}).Write([]byte("x")); n != 0 || !errors.Is(err, errWrite) {
		t.Errorf("%d, %v", n, err)
	}
}
