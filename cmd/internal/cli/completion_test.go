package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// completeInBash sources the script, types a line word by word, and prints what is offered. Outside
// of a terminal two things that the script calls are missing: a function of the package
// bash-completion, and the builtin compopt.
const completeInBash = `
_get_comp_words_by_ref() {
  words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${COMP_WORDS[COMP_CWORD]}; prev=${COMP_WORDS[COMP_CWORD-1]}
}
compopt() { :; }
source <(membersync completion bash)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
__start_membersync
printf '%s\n' "${COMPREPLY[@]}"
`

func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "membersync")); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"membersync dlq li":                               "list",
		"membersync dlq ":                                 "discard export list redrive show",
		"membersync dlq list --reason crm_n":              "crm_not_found",
		"membersync dlq list --reason crm_not_found,crm_": "crm_not_found,crm_invalid crm_not_found,crm_rejected",
		"membersync dlq list --state a":                   "applied all",
		"membersync dlq list --stage ":                    "decode map update",
		"membersync dlq list -o ":                         "table json",
		"membersync dlq list --group-by r":                "reason",
		"membersync run --log-l":                          "--log-level",
		"membersync run --log-level ":                     "debug info warn error",
		"membersync completion z":                         "zsh",
		"membersync help st":                              "state status",
		"membersync explain ":                             "",
	} {
		cmd := exec.CommandContext(t.Context(), bash, append([]string{"--norc", "-c", completeInBash, "bash"}, strings.Split(line, " ")...)...) //nolint:gosec // a fixed script
		cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0", "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var offered []string
		for text := range strings.Lines(string(out)) {
			if word := strings.Fields(text); len(word) > 0 { // a description follows where several are offered
				offered = append(offered, word[0])
			}
		}
		if got := strings.Join(offered, " "); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
