package flags_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"

	"membersync/cmd/internal/flags"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A sample holds one flag of each kind.
type sample struct {
	*flags.Set
	on       bool
	text     string
	limit    int
	since    time.Time
	wait     time.Duration
	output   string
	states   []string
	rejected string
}

func newSample() *sample {
	s := &sample{Set: flags.NewSet(pflag.NewFlagSet("", pflag.ContinueOnError)), output: "table"}
	s.BoolP(&s.on, "on", "x", "switch it on")
	s.Text(&s.text, "text", "string", "any text")
	s.Count(&s.limit, "limit", "at most")
	s.Time(&s.since, "since", "from this time on")
	s.Duration(&s.wait, "wait", time.Second, "at most so long")
	s.Choice(&s.output, "output", "o", "form", "table", "json")
	s.List("state", "[open]", "states", []string{"open", "closed"}, func(word string) { s.states = append(s.states, word) })
	s.Func("reject", "string", "is always wrong", func(text string) string {
		s.rejected = text
		return "should not be there"
	})
	return s
}

func (s *sample) parse(args ...string) (rest, faults []string) {
	rest, found := s.Finish(s.Parse(args))
	for _, f := range found {
		faults = append(faults, f.String())
	}
	return rest, faults
}

func TestValues(t *testing.T) {
	t.Parallel()
	s := newSample()
	rest, faults := s.parse("a", "-x", "--text=t", "--limit", "3", "--since=2026-11-22T08:00:00Z", "--wait=1d", "-ojson", "--state=open,closed", "-", "--", "-b")
	if d := cmp.Diff([]string{"a", "-", "-b"}, rest); d != "" || len(faults) > 0 {
		t.Errorf("faults %q: %s", faults, d)
	}
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	if !s.on || s.text != "t" || s.limit != 3 || !s.since.Equal(at) || s.wait != 24*time.Hour || s.output != "json" || len(s.states) != 2 {
		t.Errorf("%+v", s)
	}
}

// Every fault is found, whatever stands before it, and none shows a value, except that of a flag
// that takes one of a few words.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ args, want []string }{
		"values": {
			[]string{
				"--on=canary", "--limit=-1", "--since=canary", "--wait=1ms", "-o", "tabel", "--state=open,clsoed,x", "--reject=canary", "--wait=canary",
			},
			[]string{
				"--on: should be true or false", "--limit: should be a whole number from 0",
				"--since: should be a time such as 2026-11-22T08:00:00Z, or how long ago, such as 2h or 3d4h",
				"--wait: should be a duration such as 10m, 2h or 3d4h, at least 1s", "--output: should be table or json; got \"tabel\"; did you mean table?",
				"--state: should be of open, closed; got \"clsoed\"; did you mean closed?", "--reject: should not be there", "--wait: should be a duration such as 10m, 2h or 3d4h, at least 1s",
			},
		},
		"unknown": {
			[]string{"--liimt=canary", "-ycanary", "-limit=3", "--zzzzzzzzzzzzzz", "--on=canary"},
			[]string{
				"--liimt: unknown flag; did you mean --limit?", "-y: unknown flag", "-limit: unknown flag; did you mean --limit?",
				"--zzzzzzzzzzzzzz: unknown flag", "--on: should be true or false",
			},
		},
		"no value":          {[]string{"--unknown", "--limit"}, []string{"--unknown: unknown flag", "--limit: needs a value"}},
		"shorthand, no one": {[]string{"-xo"}, []string{"--output: needs a value"}},
		"no name":           {[]string{"--=canary"}, []string{"an argument has the form of neither a flag nor a value"}},
	} {
		if _, faults := newSample().parse(tc.args...); !cmp.Equal(tc.want, faults) {
			t.Errorf("%s: %s", name, cmp.Diff(tc.want, faults))
		}
	}
}

func TestUsages(t *testing.T) {
	t.Parallel()
	const want = `  -x, --on              switch it on
      --text string     any text
      --limit int       at most
      --since time      from this time on
      --wait duration   at most so long
  -o, --output string   form (default "table")
      --state strings   states (default [open])
      --reject string   is always wrong
`
	if d := cmp.Diff(want, newSample().FlagUsages()); d != "" {
		t.Error(d)
	}
}
