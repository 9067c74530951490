package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"membersync/cmd/internal/cli"
	"membersync/cmd/internal/test/docblocks"
	"membersync/cmd/internal/test/testbed/servicetest"
)

// A reader types the commands of a document in a folder and with variables of their own.
type reader struct {
	stack   *program
	flags   []string // of devstack env, for the stack's ports
	dir     string
	environ []string
	seconds int // of the clock
}

// What devstack prints at the end works as printed, and so does what the README has readers try: in
// any order, and each once more.
func TestTheCommandsToTry(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"README", "printed", "README", "printed"}, {"printed", "README", "printed", "README"}} {
		t.Run(strings.Join(order[:2], " first, then "), func(t *testing.T) {
			t.Parallel()
			r := newReader(t)
			commands := map[string][]docblocks.Command{"README": toTry(t), "printed": r.printed(t)}
			for _, name := range order {
				if len(commands[name]) < 7 {
					t.Errorf("%s: only %d commands", name, len(commands[name]))
				}
				for _, c := range commands[name] {
					r.types(t, c)
				}
			}
			r.stack.signals <- syscall.SIGTERM
			<-r.stack.status
			_, out, _ := strings.Cut(r.stack.out.String(), "What to try next")
			for want, times := range map[string]int{
				"applied        sent position": 1, "duplicate      no call   [yours]": 1, "dead lettered  crm_not_found": 2, "applied        sent email": 2,
			} {
				if n := strings.Count(out, want); n != times {
					t.Errorf("%d times %q, want %d: %s", n, want, times, out)
				}
			}
		})
	}
}

// A pause of the calls is one line when it begins and one when it ends.
func TestAPauseIsShown(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	r.types(t, docblocks.Command{Words: append([]string{"go", "run", "./cmd/devstack", "env"}, r.flags...)})
	r.asks(t, []string{"pause", "--note", "a test"})
	r.stack.await(t, "  calls paused   operator: events wait, and none is lost; see membersync status\n")
	r.asks(t, []string{"resume", "--note", "the test is over"})
	r.stack.await(t, "  calls resumed  events that waited are processed\n")
	r.stack.signals <- syscall.SIGTERM
	<-r.stack.status
	if out := r.stack.out.String(); strings.Count(out, "calls paused") != 1 || strings.Count(out, "calls resumed") != 1 {
		t.Errorf("a pause has more than two lines: %s", out)
	}
}

// toTry is the README's block of commands that begins with eval.
func toTry(t *testing.T) []docblocks.Command {
	t.Helper()
	readme, err := docblocks.Read("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range readme {
		if block.Commands[0].Words[0] == "eval" {
			return block.Commands
		}
	}
	t.Fatal("the README has no block that begins with eval")
	return nil
}

// The commands of devstack in all documents exist, with their flags: help after them is printed.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	for _, path := range documents() {
		blocks, err := docblocks.Read(path)
		if err != nil {
			t.Error(err)
		}
		for _, block := range blocks {
			for _, c := range block.Commands {
				if !slices.Contains(c.Words, "./cmd/devstack") {
					continue
				}
				if status, _, errs := call(t, append(slices.Clone(c.Words[3:]), "--help")...); status != exitDone {
					t.Errorf("%s: %s", c.Text(), errs)
				}
			}
		}
	}
}

// What the documents' commands write in the folder of the repository is not offered for a commit.
func TestFilesOfExamplesAreIgnored(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../.gitignore")
	if err != nil {
		t.Fatal(err)
	}
	ignored := strings.Split(string(text), "\n")
	for _, path := range documents() {
		blocks, err := docblocks.Read(path)
		if err != nil {
			t.Error(err)
		}
		for _, block := range blocks {
			for _, c := range block.Commands {
				if c.Output != "" && !slices.Contains(ignored, "/"+c.Output) {
					t.Errorf("%s: .gitignore lacks /%s", c.Text(), c.Output)
				}
			}
		}
	}
}

// documents are the pages with commands.
func documents() []string {
	return []string{"../../README.md", "../README.md", "../../dlq/RUNBOOK.md", "../../mapper/MAPPING.md"}
}

// newReader starts a stack, and waits until it shows what to try.
func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{stack: start(t, freePorts("--rate", "50")...), dir: t.TempDir()}
	r.stack.await(t, "dlq redrive --employee E0009 --note \"created in the CRM\"\n")
	_, line, _ := strings.Cut(r.stack.out.String(), "go run ./cmd/devstack env ")
	line, _, _ = strings.Cut(line, ")")
	r.flags = strings.Fields(line)
	return r
}

// printed returns the commands at the end of the output.
func (r *reader) printed(t *testing.T) []docblocks.Command {
	t.Helper()
	_, text, _ := strings.Cut(r.stack.out.String(), "What to try next")
	var shell strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") {
			shell.WriteString(line)
		}
	}
	commands, err := docblocks.Parse("devstack's output", 1, shell.String())
	if err != nil {
		t.Fatal(err)
	}
	return commands
}

// types runs a command. Any other than these fails.
func (r *reader) types(t *testing.T, c docblocks.Command) {
	t.Helper()
	words := slices.Clone(c.Words)
	switch command := strings.Join(words[:min(3, len(words))], " "); {
	case words[0] == "eval", words[0] == "date": // typed with the command that they are part of
	case words[0] == "echo" && c.Output != "":
		r.writes(t, words[1], c.Output)
	case words[0] == "curl" && words[1] == "-d" && len(words) == 4:
		r.posts(t, words[3], words[2])
	case command == "go run ./cmd/membersync":
		r.asks(t, words[3:])
	case command == "go run ./cmd/devstack" && words[3] == "env":
		if len(words) == 4 { // the README's are those of a stack at the usual ports
			words = append(words, r.flags...)
		}
		_, out, _ := call(t, words[3:]...)
		for line := range strings.Lines(strings.ReplaceAll(out, "'", "")) {
			r.environ = append(r.environ, strings.TrimSpace(strings.TrimPrefix(line, "export ")))
		}
	case command == "go run ./cmd/devstack" && words[3] == "send":
		from := len(r.stack.out.String())
		if status, out, errs := callWith(t, r.environ, r.inDir(words[3:])...); status != exitDone {
			t.Errorf("%s: status %d: %s%s", c.Text(), status, out, errs)
		}
		r.stack.out.AwaitFrom(t, from, regexp.QuoteMeta("[yours]"), r.stack.done)
	default:
		t.Errorf("%s: no test knows this command", c.Text())
	}
}

// writes writes a text into a file of the folder. A text that is more than that is the shell's to
// expand, at a time that no other has.
func (r *reader) writes(t *testing.T, text, file string) {
	t.Helper()
	if strings.Contains(text, "$(date +%s)") {
		r.seconds++
		script := fmt.Sprintf("date() { echo 17%08d; }; echo %s", r.seconds, text)
		out, err := exec.CommandContext(t.Context(), "sh", "-c", script).Output() //nolint:gosec // the text is devstack's own
		if err != nil {
			t.Fatal(err)
		}
		text = string(out)
	}
	if err := os.WriteFile(filepath.Join(r.dir, file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// inDir gives the paths of files in the reader's folder.
func (r *reader) inDir(words []string) []string {
	for i, word := range words {
		if strings.HasSuffix(word, ".json") {
			words[i] = filepath.Join(r.dir, word)
		}
	}
	return words
}

// asks runs membersync, and answers its question with yes.
func (r *reader) asks(t *testing.T, args []string) {
	t.Helper()
	out, errs := &servicetest.Output{}, &servicetest.Output{}
	status := cli.Run(t.Context(), r.inDir(args), cli.Env{
		Stdin: strings.NewReader("y\n"), Stdout: out, Stderr: errs, Terminal: true,
		ReadFile: os.ReadFile, Environ: r.environ, Version: "test",
	})
	if status != exitDone {
		t.Errorf("membersync %s: status %d: %s%s", strings.Join(args, " "), status, out, errs)
	}
}

func (r *reader) posts(t *testing.T, url, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode >= http.StatusBadRequest {
		t.Errorf("POST %s: %s", url, response.Status)
	}
}
