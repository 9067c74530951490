package cli

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/test/docblocks"
	"membersync/dlq"
)

// words splits a command as a shell does, without what follows # or redirects.
func words(line string) []string {
	var all []string
	for _, one := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(line, -1) {
		if strings.ContainsRune("#>|&", rune(one[0])) {
			break
		}
		all = append(all, strings.Trim(one, `"`))
	}
	return all
}

// documents are the pages whose shell blocks are checked, from the folder of this package.
func documents() []string {
	return []string{
		"../../../README.md", "../../README.md", "../../../dlq/RUNBOOK.md", "../../../mapper/MAPPING.md",
	}
}

// Each command of a shell block in the documents exists, with its arguments, flags and their
// values. A block with any other command fails.
func TestShellBlocks(t *testing.T) {
	t.Parallel()
	for _, path := range documents() {
		blocks, err := docblocks.Read(path)
		if err != nil {
			t.Error(err)
		}
		if len(blocks) < 2 {
			t.Errorf("%s: %d shell blocks", path, len(blocks))
		}
		for _, block := range blocks {
			for _, c := range block.Commands {
				if fault := commandFault(c.Words); fault != "" {
					t.Errorf("%s: %s", c.Text(), fault)
				}
			}
		}
	}
}

// commandFault is what is wrong with a command of a shell block.
func commandFault(words []string) string {
	args := words[1:]
	after := func(word string) []string {
		at := slices.Index(args, word)
		if at < 0 {
			return nil
		}
		return args[at+1:]
	}
	switch words[0] {
	case "membersync":
		return usageFault(args)
	case "kubectl": // what runs in the pod, where the program is the entry point
		inPod := after("--")
		if len(inPod) > 0 && inPod[0] == "/membersync" {
			inPod = inPod[1:]
		}
		return usageFault(inPod)
	case "go":
		return goFault(args)
	case "export":
		return exportFault(args)
	case "eval", "echo": // cmd/devstack runs these blocks
		return ""
	case ".ci/debezium":
		_, err := os.Stat("../../../.ci/debezium")
		return textOf(err)
	}
	return "no test knows this command"
}

func goFault(args []string) string {
	target := args[len(args)-1]
	if args[0] == "run" {
		target = args[1]
	}
	if args[0] == "run" && target == "./cmd/membersync" {
		return usageFault(args[2:])
	}
	_, err := os.Stat("../../../" + strings.TrimSuffix(target, "..."))
	return textOf(err) // the flags of ./cmd/devstack are checked by its own tests
}

// exportFault is what is wrong with variables: each must be a setting.
func exportFault(args []string) string {
	reference := config.Markdown()
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		secret := "`" + strings.TrimSuffix(name, "_FILE") + "(_FILE)`"
		if !strings.Contains(reference, "`"+name+"`") && !strings.Contains(reference, secret) {
			return name + " is not a setting"
		}
	}
	return ""
}

func textOf(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

// The tutorial of MAPPING.md goes as it is written: its record, its two mapping files, its
// commands, and what they print. Its members are among those of devstack's fake CRM.
func TestTutorial(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../mapper/MAPPING.md")
	if err != nil {
		t.Fatal(err)
	}
	all := func(language string) (blocks []string) {
		for _, found := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
			blocks = append(blocks, found[1])
		}
		return blocks
	}
	event, mappings, printed := all("json")[0], all("yaml"), all("text")
	for _, id := range regexp.MustCompile(`FSUID_TEST\d+`).FindAllString(string(text), -1) {
		if id < "FSUID_TEST0001" || id > "FSUID_TEST0009" {
			t.Errorf("the fake CRM of devstack has no member %s", id)
		}
	}
	for _, step := range []struct{ mapping, command, want string }{
		{mappings[0], "map --mapping hr.yaml event.json", printed[0]},
		{mappings[0], "map --mapping hr.yaml --explain event.json", ""},
		{mappings[0], "check --mapping-only --mapping hr.yaml", printed[1]},
		{mappings[1], "map --mapping hr.yaml event.json", ""},
		{mappings[1], "check --mapping-only --mapping hr.yaml --sample events.ndjson", ""},
	} {
		if !strings.Contains(string(text), "\nmembersync "+step.command+"\n") {
			t.Errorf("the tutorial has no command %s", step.command)
		}
		r := newRig()
		r.files["hr.yaml"], r.files["event.json"] = step.mapping, event
		r.files["events.ndjson"] = strings.ReplaceAll(event, "\n", "") + "\n"
		r.files["members.csv"] = "mail,crm_id\ns042@example.com,FSUID_TEST0004\n"
		if status := r.run(t, strings.Fields(step.command)...); status != exitDone {
			t.Errorf("%s: status %d: %s%s", step.command, status, r.out, r.errs)
		}
		if step.want != "" && step.want != r.out.String() {
			t.Errorf("%s: printed\n%s, want\n%s", step.command, r.out, step.want)
		}
	}
}

// What is not a command, a flag or a setting is found.
func TestCommandFaults(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"membersync dlq lst":                            "unknown command",
		"membersync lst":                                "unknown command",
		"membersync dlq list --reson x":                 "unknown flag",
		"membersync dlq list --group-by day":            "--group-by",
		"go run ./cmd/membersync map --explian a.json":  "unknown flag",
		"go run ./cmd/nothing":                          "no such file",
		"kubectl exec -it x -- /membersync dlq list -x": "-x",
		"kubectl run x -- list":                         "unknown command",
		"export MEMBERSYNC_KAFKA_BROKER=a":              "is not a setting",
		"export MEMBERSYNC_KAFKA_TOPIC_FILE=a":          "is not a setting",
		"kcat -C":                                       "no test knows",
	} {
		if got := commandFault(strings.Fields(line)); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	if got := commandFault(strings.Fields("export MEMBERSYNC_CRM_TOKEN_FILE=a MEMBERSYNC_KAFKA_TOPIC=b")); got != "" {
		t.Error(got)
	}
}

// The commands between backquotes exist, too. ... and capitals stand for what the reader gives.
func TestInlineCommands(t *testing.T) {
	t.Parallel()
	for _, path := range documents() {
		text, err := os.ReadFile(path) //nolint:gosec // of the repository
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile("`membersync ([^`]*)`").FindAllStringSubmatch(string(text), -1) {
			line := strings.NewReplacer("[FILE\\|-]", "-", "ID...", "ID --note TEXT", "SHELL", "bash").Replace(found[1])
			if fault := usageFault(words(line)); fault != "" {
				t.Errorf("%s: %s: %s", path, found[0], fault)
			}
		}
	}
}

// usageFault is what is wrong with a command line, before it runs.
func usageFault(args []string) string {
	all := commands()
	slices.SortStableFunc(all, func(a, b command) int { return len(strings.Fields(b.name)) - len(strings.Fields(a.name)) })
	for _, c := range all {
		name := strings.Fields(c.name)
		if len(args) < len(name) || !slices.Equal(name, args[:len(name)]) {
			continue
		}
		in := &invocation{app: newRig().app, command: c}
		set := flags.NewSet(pflag.NewFlagSet(c.name, pflag.ContinueOnError))
		c.define(in, set)
		if c.settings != nil {
			c.settings(set, &in.settings)
		}
		in.defineCommon(set)
		set.Bool(new(bool), "help", "")
		in.command.run = func(context.Context, *invocation) int { return exitDone }
		rest, faults := set.Finish(set.Parse(args[len(name):]))
		in.begin(context.Background(), rest, faults)
		for _, f := range in.faults {
			return f.String()
		}
		return ""
	}
	r := newRig() // a group, or a command without a body of its own
	if status := r.app.run(context.Background(), args); status != exitDone && (len(args) > 1 || strings.Contains(r.errs.String(), "unknown command")) {
		return r.errs.String()
	}
	return ""
}

// Each reason's section says what to type, if there is anything to run again or to discard.
func TestRunbookHasCommands(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../dlq/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range dlq.Reasons() {
		_, section, _ := strings.Cut(string(text), "## `"+string(reason)+"`")
		section, _, _ = strings.Cut(section, "\n## ")
		if !strings.Contains(section, "membersync dlq redrive") && !strings.Contains(section, "membersync dlq discard") {
			t.Errorf("%s: no command closes it", reason)
		}
	}
}

// The runbook has a heading for each cause of a pause, and for each cause of the contract's status.
func TestRunbookHasCauses(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../dlq/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := strings.Join(regexp.MustCompile("(?m)^### .*$").FindAllString(string(text), -1), "\n")
	for _, cause := range []string{
		"crm_outage", "crm_throttled", "crm_quota", "crm_refused", "redis", "kafka", "dlq", "storm", "state_key", "control", "operator",
		"working", "catching_up", "no_instance", "paused_by_operator", "state_lost", "mapping_rejects", "retention_risk", "stuck",
	} {
		if !strings.Contains(headings, "`"+cause+"`") {
			t.Errorf("no heading has `%s`", cause)
		}
	}
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
