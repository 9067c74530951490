package dlq_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/dlq"
)

func TestReasonStages(t *testing.T) {
	t.Parallel()
	want := map[dlq.Reason]dlq.Stage{
		"malformed": "decode", "oversized": "decode", "invalid_event": "decode", "invalid_redrive": "decode",
		"invalid_field": "map", "unresolved_reference": "map", "needs_fetch": "map", "routed": "map",
		"crm_not_found": "update", "crm_invalid": "update", "crm_rejected": "update", "retries_exhausted": "update",
	}
	got := make(map[dlq.Reason]dlq.Stage)
	for _, r := range dlq.Reasons() {
		got[r] = r.Stage()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
	if got := dlq.Reason("of_a_later_version").Stage(); got != dlq.StageUpdate {
		t.Errorf("an unknown reason has stage %q", got)
	}
}

// Reasons must return every constant of its type: the metrics and the runbook depend on it.
func TestReasonsAreComplete(t *testing.T) {
	t.Parallel()
	var all []string
	for _, r := range dlq.Reasons() {
		all = append(all, string(r))
	}
	if diff := cmp.Diff(constants(t, "reason.go", "Reason"), all); diff != "" {
		t.Errorf("constants and Reasons (-constants +Reasons):\n%s", diff)
	}
}

// Other people's programs read the actions of audit records and the states of items.
func TestActionsAndStates(t *testing.T) {
	t.Parallel()
	actions := []string{
		"redrive", "redrive_result", "discard", "reveal", "offsets_reset", "replay", "replay_cancel",
		"pause", "resume", "state_forget", "state_rebuild",
	}
	if diff := cmp.Diff(actions, constants(t, "audit.go", "Action")); diff != "" {
		t.Errorf("actions (-contract +constants):\n%s", diff)
	}
	states := []dlq.State{"open", "redriving", "applied", "superseded", "discarded"}
	if diff := cmp.Diff(states, dlq.States()); diff != "" {
		t.Errorf("states (-contract +States):\n%s", diff)
	}
	if diff := cmp.Diff(len(states), len(constants(t, "state.go", "State"))); diff != "" {
		t.Errorf("constants and States: %s", diff)
	}
}

// constants returns the values of a file's constants whose names begin with a prefix.
func constants(t *testing.T, path, prefix string) (values []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		lit, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("%s is not a literal", spec.Names[0].Name)
		}
		text, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, text)
		return true
	})
	return values
}

// The runbook has a heading for every reason, and no heading for an unknown reason.
func TestRunbookHasAHeadingForEveryReason(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	section := regexp.MustCompile("(?m)^## `([a-z_]+)`\n((?:[^#\n].*\n|\n)+)").FindAllStringSubmatch(string(text), -1)
	var headings []dlq.Reason
	for _, s := range section {
		headings = append(headings, dlq.Reason(s[1]))
		for _, part := range []string{"Cause:", "Check:", "Fix:"} {
			if !strings.Contains(s[2], part) {
				t.Errorf("section %s has no %q", s[1], part)
			}
		}
	}
	want := dlq.Reasons()
	slices.Sort(want)
	slices.Sort(headings)
	if diff := cmp.Diff(want, headings); diff != "" {
		t.Errorf("reasons and headings (-reasons +headings):\n%s", diff)
	}
}
