package cli

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"membersync/cmd/internal/commandline"
	"membersync/cmd/internal/config"
	"membersync/cmd/internal/test/goldentest"
)

func TestHelp(t *testing.T) {
	t.Parallel()
	all := map[string][]string{"usage": {"--help"}, "dlq": {"dlq", "--help"}, "state": {"state", "-h"}, "offsets": {"help", "offsets"}}
	for _, c := range leaves(newRig().app.tree().Root()) {
		words := strings.Fields(nameOf(c))
		all[strings.Join(words, "-")] = append(words, "--help")
	}
	all["check"] = []string{"check", "-h", "--unknown"}
	all["map"] = []string{"map", "x", "y", "--help", "--key"}
	all["dlq-list"] = []string{"help", "dlq", "list"}
	for name, args := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig()
			if status := r.run(t, args...); status != exitDone {
				t.Errorf("status %d", status)
			}
			goldentest.Compare(t, "testdata/help/"+name+".txt", r.out.String())
			r.want(t, r.out.String(), "")
		})
	}
}

func TestBadUsage(t *testing.T) {
	t.Parallel()
	const (
		badMap = "membersync map: --timestamp: should be a time such as 2026-11-22T08:00:00Z, or how long ago, such as 2h or 3d4h\n" +
			"membersync map: --header: should be name=value\n" +
			"membersync map: --timezone: \"Nowhere\" should be a zone such as Asia/Shanghai\n"
		badRun = "membersync run: --crm-tokn: unknown flag; did you mean --crm-token?\n" +
			"membersync run: --help: should be true or false\n"
		secret = "membersync check: --crm-token: a secret comes from MEMBERSYNC_CRM_TOKEN or the file that " +
			"MEMBERSYNC_CRM_TOKEN_FILE names, never from a flag or the YAML file\n"
		noNote = "membersync dlq discard: required flag: --note TEXT (the reason, recorded in the audit topic)\n"
	)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"nothing":         {nil, help(t)},
		"a group alone":   {[]string{"dlq"}, help(t, "dlq")},
		"no command":      {[]string{"lost"}, "membersync: unknown command \"lost\" for \"membersync\"; see membersync --help\n"},
		"nearly":          {[]string{"dlq", "lst"}, "membersync: unknown command \"lst\" for \"membersync dlq\"; did you mean \"list\"?\n"},
		"nearly, of two":  {[]string{"replay", "lst"}, "membersync: unknown command \"lst\" for \"membersync replay\"; did you mean \"list\"?\n"},
		"help of nothing": {[]string{"help", "state", "shw"}, "membersync: unknown command \"shw\" for \"membersync state\"; did you mean \"show\"?\n"},
		"root's flag":     {[]string{"--versio"}, "membersync: --versio: unknown flag; did you mean --version?\n"},
		"arguments":       {[]string{"version", "hushhush"}, "membersync version: 1 argument given, none allowed\n"},
		"output":          {[]string{"version", "-o", "jsn"}, "membersync version: --output: should be table or json; got \"jsn\"; did you mean json?\n"},
		"no value":        {[]string{"version", "-o"}, "membersync version: --output: needs a value\n"},
		"shorthand":       {[]string{"version", "-xcanary"}, "membersync version: -x: unknown flag\n"},
		"no note":         {[]string{"dlq", "discard", "--all"}, noNote + required("dlq discard")},
		"unknown flag":    {[]string{"run", "--crm-tokn=hushhush", "--help=hushhush"}, badRun + required("run")},
		"map's flags":     {[]string{"map", "--timestamp=x", "--header=x", "--timezone=Nowhere"}, badMap},
		"a secret":        {[]string{"check", "--crm-token", "hushhush", "--crm-base-url=https://c", "--crm-corp-id=c"}, secret},
		"a service's":     {[]string{"map", "--crm-base-url=http://c"}, "membersync map: --crm-base-url: unknown flag; did you mean --crm-api?\n"},
		"map's mapping":   {[]string{"map", "--mapping=x.yaml"}, "membersync map: mapping \"x.yaml\" is not built in (canonical, canonical-time, cloudevents, debezium are), and no file that can be read: open x.yaml: file does not exist\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig()
			if status := r.run(t, tc.args...); status != exitUsage {
				t.Errorf("status %d", status)
			}
			stdout := r.out.String()
			if tc.args != nil && tc.args[0] != "check" && stdout != "" {
				t.Errorf("stdout %q", stdout)
			}
			r.want(t, stdout, tc.want)
		})
	}
}

// A wrong word for a flag that takes one of a few is quoted, with the nearest one.
func TestWrongWord(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"dlq list --reason=malformed,crm_notfound": `, invalid_redrive; got "crm_notfound"; did you mean crm_not_found?`,
		"dlq list --stage=decod":                   `should be decode, map or update; got "decod"; did you mean decode?`,
		"replay --from=latset":                     `and only one kind of them; got "latset"; did you mean latest?`,
		"offsets reset --to=2026-11-22":            `and only one kind of them; got "2026-11-22"` + "\n",
	} {
		r := newRig()
		if status := r.run(t, strings.Fields(args)...); status != exitUsage || !strings.Contains(r.errs.String(), want) {
			t.Errorf("%s: status %d: %s", args, status, r.errs)
		}
	}
}

// help is the help of a command.
func help(t *testing.T, args ...string) string {
	t.Helper()
	c, _, err := newRig().app.tree().Root().Find(args)
	if err != nil {
		t.Fatal(err)
	}
	return commandline.Help(c)
}

// required is what a command reports of a configuration without anything.
func required(name string) string {
	_, _, err := config.Load(nil, nil, nil)
	return prefixed("membersync "+name+": ", err.Error())
}

// Everything is reported at once: of the command line, environment and YAML.
func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	r := newService(t)
	r.files["a.yaml"] = "kafka: {tls: perhaps}\n"
	r.set("CRM_RATE", "fast")
	r.set("KAFKA_TOPICS", "x")
	if status := r.run(t, "run", "--config=a.yaml", "--unknown", "--crm-timeout=1"); status != exitUsage {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{
		"membersync run: --unknown: unknown flag", `membersync run: kafka.tls (a.yaml line 1): "perhaps" should be true or false`,
		`membersync run: MEMBERSYNC_CRM_RATE: "fast" should be`, `membersync run: --crm-timeout: "1" should be`,
		"membersync run: warning: MEMBERSYNC_KAFKA_TOPICS: unknown setting; did you mean MEMBERSYNC_KAFKA_TOPIC?",
	} {
		if !strings.Contains(r.errs.String(), want) {
			t.Errorf("%q lacks %q", r.errs, want)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	r := newRig()
	if status := r.run(t, "version"); status != exitDone {
		t.Errorf("status %d", status)
	}
	if got := r.out.String(); !strings.HasPrefix(got, "membersync 1.2.3, revision ") || !strings.HasSuffix(got, runtime.Version()+"\n") {
		t.Errorf("%q", got)
	}
	r = newRig()
	r.app.Version = ""
	if status := r.run(t, "version", "-o", "json"); status != exitDone {
		t.Errorf("status %d", status)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(r.out.String()), &got); err != nil {
		t.Fatal(err)
	}
	if got["version"] == "" || got["revision"] == "" || got["go"] != runtime.Version() || len(got) != 3 {
		t.Errorf("%v", got)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestStdoutThatFails(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"version", "-o=json"}, {"map", "-o=json"}, {"map"}} {
		r := newRig()
		r.app.Stdout = brokenPipe{}
		if status := r.run(t, args...); status != exitFailed {
			t.Errorf("%v: status %d", args, status)
		}
		if !strings.Contains(r.errs.String(), "stdout: broken pipe") {
			t.Errorf("%v: stderr %q", args, r.errs)
		}
	}
}
