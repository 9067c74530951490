package cli

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// promised are the commands, each with the flags that scripts and runbooks of others go by, beside those of all.
func promised() map[string]string {
	const (
		filters  = "reason stage code employee since until"
		changing = "dry-run yes note actor"
	)
	return map[string]string{
		"run": "dry-run", "check": "", "map": "key header timestamp", "version": "",
		"replay":       "from to employee reapply rate resume " + changing,
		"offsets show": "", "offsets reset": "to " + changing,
		"dlq list": filters + " state group-by limit follow", "dlq show": "", "dlq export": filters + " state",
		"dlq redrive": filters + " all rate value-file " + changing, "dlq discard": filters + " all " + changing,
		"explain": "", "pause": "for " + changing, "resume": "dead-letter-held " + changing,
		"state show": "", "state forget": changing, "state rebuild": changing,
	}
}

func TestCommandsHaveWhatIsPromised(t *testing.T) {
	t.Parallel()
	var names, want []string
	for _, c := range commands() {
		names = append(names, c.name)
		in := &invocation{app: newRig().app, command: c}
		flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
		c.flags(in, flags)
		help := c.help()
		for _, name := range append(strings.Fields(promised()[c.name]), "o") {
			spelt := map[bool]string{true: "  -o  ", false: "--" + name}[name == "o"]
			if flags.Lookup(name) == nil || !strings.Contains(help, spelt) {
				t.Errorf("%s: no flag %s, or nothing of it in the help", c.name, name)
			}
		}
	}
	for name := range promised() {
		want = append(want, name)
	}
	slices.Sort(names)
	slices.Sort(want)
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("commands (-promised +there): %s", d)
	}
}
