package simulation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A mutant is a bug that is planted in the service.
type mutant struct {
	name  string
	edits []edit
	theme string // of the seeds that catch it; empty: any seed
}

// An edit replaces the only occurrence of a text in a file.
type edit struct{ file, old, new string }

const (
	mostSeeds   = 200 // after which a mutant is not caught
	seedsAtOnce = 10
)

func mutants() []mutant {
	return []mutant{
		{"an event is marked done before the call", []edit{{
			"consumer/deliver/deliver.go",
			"\tresponse, err = d.parts.CRM.Modify(",
			`	early := dedupe.Completion{Member: u.Member, Token: u.Token, Keep: true}
	for _, ev := range u.Events {
		early.Done = append(early.Done, dedupe.DoneEvent{ID: ev.ID, Outcome: string(event.Applied)})
	}
	_, _ = d.parts.Store.Complete(ctx, early)
	response, err = d.parts.CRM.Modify(`,
		}}, ""},
		{"what failed is committed", []edit{{
			"consumer/pipeline.go",
			"\tspent := a.schedule.RecordFailure(now, b, u, d) // begins and ends pauses, too\n",
			`	spent := a.schedule.RecordFailure(now, b, u, d)
	if d.Kind == event.KindTransient {
		a.release(ctx, u)
		var passed event.Result
		for _, ev := range u.Events {
			passed.Finished = append(passed.Finished, event.Finished{Event: ev, Outcome: event.Applied})
		}
		return passed
	}
`,
		}}, ""},
		{"a version is kept for the whole member, not for each field", []edit{
			{"dedupe/acquire.lua", "stored_of[number] = 'v:' .. ARGV[9 + f]", "stored_of[number] = 'v:all'"},
			{"dedupe/complete.lua", "stored[f] = 'v:' .. ARGV[first + 4 * f - 3]", "stored[f] = 'v:all'"},
			{"dedupe/complete.lua", "moved[n + 1], moved[n + 2] = 'v:' .. name, ARGV[at - 1]", "moved[n + 1], moved[n + 2] = 'v:all', ARGV[at - 1]"},
		}, ""},
		{"a redrive is done if its original is, before it has a lane", []edit{{
			"consumer/decode/done.go", "if mark.Covers(events[at[i]].Record.RedriveNumber(), r.reapply) {", "if mark.Done {",
		}}, ""},
		{"the lease is not checked", []edit{{
			"dedupe/acquire.lua", "if holder and holder ~= token then", "if false then",
		}}, ""},
		{"the digest of a field outlives a call without an answer", []edit{{
			"dedupe/acquire.lua", "redis.call('HDEL', KEYS[2], unpack(untrue))", "",
		}}, ""},
		{"an older value does not wait for a newer one that may have been applied", []edit{{
			"dedupe/acquire.lua", "if wait > 0 then return {3, wait} end", "",
		}}, ""},
		{"an unchanged event does not move the versions", []edit{{
			"consumer/deliver/deliver.go",
			"Fields: fieldNames(ev.Update()),\n\t\t})\n",
			`Fields: fieldNames(ev.Update()),
		})
		if outcome == event.Unchanged {
			c.Done[len(c.Done)-1].Fields = nil
		}
`,
		}}, ""},
		{"a redrive runs while the state is lost", []edit{
			{"consumer/pipeline.go", "return p.control.awaitState(ctx)", "return nil"},
			{
				"consumer/control.go",
				"c.control == nil || s.known && !s.lost && !s.otherKey && s.incarnation != \"\"",
				"true",
			},
			{
				"consumer/control.go", "m, err := c.control.Marker(ctx, c.group)",
				"return true, nil\n\tm, err := c.control.Marker(ctx, c.group)",
			},
		}, "redrives"},
		{"a replay runs what is discarded", []edit{{
			"consumer/decode/decode.go", "ev.Skipped = d.parts.Items != nil &&", "ev.Skipped = false &&",
		}}, "replays,redrives"},
		{"an edited value has the version of the original", []edit{{
			"consumer/decode/redrive.go", "rec.Origin.Edited = r.Request.EditedBy(r.DeadLetter)", "_ = r.Request.EditedBy(r.DeadLetter)",
		}}, "replays,redrives"},
		{"a held event is lost at a rebalance", []edit{{
			"consumer/pipeline.go",
			"\tfor _, ev := range p.schedule.DropRevoked() {\n",
			`	for _, ev := range p.schedule.DropRevoked() {
		if ev.Rejection != nil {
			ev.Ticket.Finish()
			continue
		}
`,
		}}, "storms"},
		{"held events are never tried again", []edit{{
			"consumer/schedule/hold.go", "h.held.take(h.round.size)", "h.held.take(0)",
		}}, "storms"},
		{"a held event does not keep its offset from being committed", []edit{
			{
				"consumer/schedule/hold.go", "// A round is the tries that began at one time.\n",
				`type spent struct{ event.Ticket }

func (spent) Finish() {}
func (spent) Drop()   {}

// A round is the tries that began at one time.
`,
			},
			{
				"consumer/schedule/hold.go", "\t\t\th.held.add(ev, ev.Guard == event.Tried)\n",
				`			h.held.add(ev, ev.Guard == event.Tried)
			ev.Ticket.Finish()
			ev.Ticket = spent{ev.Ticket}
`,
			},
		}, "storms"},
		{"the storm guard counts tombstones as rejected", []edit{{
			"consumer/schedule/hold.go",
			"\tif ev.Guard == event.Exempt || ev.Rejection == nil && ev.Ignored() != \"\" {\n",
			`	if ev.Guard != event.Exempt && ev.Rejection == nil && ev.Ignored() != "" {
		h.guard.RecordMapped(true)
	}
	if ev.Guard == event.Exempt || ev.Rejection == nil && ev.Ignored() != "" {
`,
		}}, "purge"},
		{"memory is reserved after the fetch", []edit{{
			"dlq/partlog/fetch.go",
			`		if err := memory.Reserve(ctx, room); err != nil {
			return nil, err
		}
		res, err := l.fetch(ctx, topic, partition, offset, room)
		if err != nil {
			memory.Release(room)
			return nil, err
		}
`,
			`		res, err := l.fetch(ctx, topic, partition, offset, room)
		if err != nil {
			return nil, err
		}
		if err := memory.Reserve(ctx, room); err != nil {
			return nil, err
		}
`,
		}}, "large batches"},
	}
}

// TestPlantedBugs builds the simulation with one bug at a time. Some seed must fail with each bug
// that does not fail without it.
func TestPlantedBugs(t *testing.T) { //nolint:tparallel // as said below
	t.Parallel()
	if !boolFlag("mutants") {
		t.Skip("builds the service again for each bug; run it with -mutants")
	}
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants() { //nolint:paralleltest // one after the other: each uses all processors
		t.Run(m.name, func(t *testing.T) {
			seed := caught(t, root, m)
			if seed == "" {
				t.Fatalf("not caught by %d seeds", mostSeeds)
			}
			t.Logf("caught by seed %s", seed)
		})
	}
}

// caught returns the first seed that fails only with the bug, or an empty string.
func caught(t *testing.T, root string, m mutant) string {
	t.Helper()
	program := build(t, root, m)
	for from := 1; from <= mostSeeds; from += seedsAtOnce {
		seeds, out := failing(t, program, m.theme, from, seedsAtOnce)
		for _, seed := range seeds {
			if fails, _ := failing(t, os.Args[0], m.theme, seed, 1); len(fails) == 0 {
				t.Logf("%s:\n%s", m.name, firstFaults(out))
				return strconv.Itoa(seed)
			}
		}
	}
	return ""
}

// failing runs some seeds in a program and returns those that fail, and the output.
func failing(t *testing.T, program, theme string, from, n int) (seeds []int, out []byte) {
	t.Helper()
	run := exec.CommandContext(t.Context(), program, "-test.run", "^TestSimulation$", //nolint:gosec // just built, or ourselves
		"-from", strconv.Itoa(from), "-seeds", strconv.Itoa(n), "-theme", theme)
	out, err := run.CombinedOutput()
	for _, found := range regexp.MustCompile(`--- FAIL: TestSimulation/seed/(\d+)`).FindAllSubmatch(out, -1) {
		seed, err := strconv.Atoi(string(found[1]))
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, seed)
	}
	if err != nil && len(seeds) == 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	return seeds, out
}

// firstFaults returns the first lines of the oracle.
func firstFaults(out []byte) string {
	var lines []string
	for line := range bytes.Lines(out) {
		if bytes.Contains(line, []byte("_test.go:")) && len(lines) < 3 {
			lines = append(lines, strings.TrimRight(string(line), "\n"))
		}
	}
	return strings.Join(lines, "\n")
}

// TestQuotedSource checks that the text that each planted bug replaces occurs once.
func TestQuotedSource(t *testing.T) {
	t.Parallel()
	for _, m := range mutants() {
		planted(t, "../../../..", m)
	}
}

// planted returns the source files with the bug in them, by path below the root.
func planted(t *testing.T, root string, m mutant) map[string]string {
	t.Helper()
	changed := make(map[string]string)
	for _, e := range m.edits {
		if _, read := changed[e.file]; !read {
			text, err := os.ReadFile(filepath.Join(root, e.file)) //nolint:gosec // named above
			if err != nil {
				t.Fatal(err)
			}
			changed[e.file] = string(text)
		}
		if n := strings.Count(changed[e.file], e.old); n != 1 {
			t.Fatalf("%s: the text occurs in %s %d times, want once: %q", m.name, e.file, n, e.old)
		}
		changed[e.file] = strings.Replace(changed[e.file], e.old, e.new, 1)
	}
	return changed
}

// build compiles this package with the bug in it.
func build(t *testing.T, root string, m mutant) string {
	t.Helper()
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for file, text := range planted(t, root, m) {
		copied := filepath.Join(dir, fmt.Sprintf("%d-%s", len(overlay.Replace), filepath.Base(file)))
		write(t, copied, []byte(text))
		overlay.Replace[filepath.Join(root, file)] = copied
	}
	spec, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "overlay.json"), spec)
	program := filepath.Join(dir, "simulation.test")
	compile := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", filepath.Join(dir, "overlay.json"), //nolint:gosec // our own
		"-o", program, "./cmd/internal/test/simulation")
	compile.Dir = root
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", m.name, err, out)
	}
	return program
}

func write(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
