package jq_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/itchyny/gojq"

	"membersync/mapper/internal/jq"
)

func run(t *testing.T, text string, v any) (result any, some bool, problem string) {
	t.Helper()
	p, err := jq.Compile(text, nil)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p.Run(jq.NewBudget(), v, nil)
}

// The counting functions change nothing of what a program means.
func TestRunIsJQ(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`.`, `.a`, `.a.b[1]`, `.a + {c: 1}`, `(2,3) * (4,5) | tostring`, `"ab" * 3`, `{a: {b: 1}} * {a: {c: 2}}`, `[.a.b[] * 2]`, `.a.b[0] *= 5`, `.a.b |= map(. + 1)`,
		`.a.b[5] = 1`, `path(.a.b[1])`, `[paths]`, `"\(.a.b[0])-x"`, `@base64 "x\(.a)"`, `[.a.b[] as $x | $x * $x] | add`, `def f(g): g + 1; f(.a.b[0])`,
		`reduce .a.b[] as $x (0; . + $x)`, `[foreach .a.b[] as $x (0; . + $x; [$x, .])]`, `.a | to_entries | from_entries`, `with_entries(.value |= 1)`,
		`try error("x") catch .`, `[limit(2; .a.b[])]`, `first(.a.b[])`, `.a.b | length`, `[.a.b[] | select(. > 1)]`, `"a,b" | split(",")`, `"abc" | gsub("b"; "x")`,
		`[match("a"; "g")?]`, `if .a then 1 elif .b then 2 else 3 end`, `label $out | 1, break $out`, `.a as {b: [$x, $y]} | $x * $y`, `[.[] | .b] | flatten`,
		`.a // 1`, `-(.a.b[0] * 2)`, `.a["b"][0:2]`, `getpath(["a","b",0])`, `setpath(["a","b",0]; 9)`, `[splits("a"; null)?]`, `del(.a.b[0])`, `"1 2" | [scan("\\d")]`,
		`reduce range(5) as $i ([]; . + [$i * $i])`, `[range(3)] | map(. * .) | add`, `.a.b | @csv`, `tojson | fromjson`, `(.a.b[0], .a.b[1]) = 7`, `12345678901234567890 * 10`,
	} {
		in := map[string]any{"a": map[string]any{"b": []any{1, 2, 3}}}
		query, err := gojq.Parse("[" + text + "]")
		if err != nil {
			t.Fatal(err)
		}
		want, _ := query.Run(in).Next()
		got, _, problem := run(t, "["+text+"]", in)
		w, errW := gojq.Marshal(want)
		g, errG := gojq.Marshal(got)
		if problem != "" || errW != nil || errG != nil || string(w) != string(g) {
			t.Errorf("%s: %s, want %s (%s)", text, g, w, problem)
		}
	}
}

// What would take too long or too much memory ends at a bound.
func TestBounds(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`[range(1e9)]`, `last(range(1e9))`, `[repeat(1)]`, `def f: f; f`, `def f: [f]; f`, `"x" * 1e9`, `1e9 * "x"`, `. as $x | "xxxxxxxx" | . *= 1e9`, `reduce range(60) as $i ("x"; . + .)`,
		`reduce range(60) as $i ("x"; "\(.)\(.)")`, `reduce range(60) as $i (1; [., .])`, `reduce range(60) as $i (1; {a: ., b: .}) | tojson`, `(reduce range(60) as $i (1; [., .])) == 1`,
		`reduce range(60) as $i ({}; .a = . | .b = .a)`, `reduce range(60) as $i ([1]; . + .)`, `reduce range(60) as $i ([1]; . += .)`, `.[1e8] = 1`, `[] | setpath([1e8]; 1)`,
		`reduce range(60) as $i ("\\"; tojson)`, `reduce range(60) as $i ("x"; @json)`, `reduce range(60) as $i (10; . * .) | tostring`, `[limit(1e9; repeat("x"))]`, `[range(1e5)] | map([range(100)])`,
		`[range(200)] | combinations(9)`, `reduce range(60) as $i ("x"; [., .] | join(""))`, `reduce range(60) as $i ([1]; [.[], .[]])`, `reduce range(60) as $i (1; [.] | map(., .))`,
		`[.[1e9]?] | .[99999999] |= 1`, `try ("x" * 1e9) catch "x"`, `[getpath([1e9])] | (getpath([1e9]) = 1)`, `reduce range(60) as $i ("ab"; gsub("(?<x>.)"; "\(.x)\(.x)"))`, `[1] | (.[1e8], .[0]) = 1`,
		`pick(.[99999999])`, `reduce range(60) as $i ([[1]]; add + add | [., .])`, `[range(100000)] | sort_by([range(1000)])`, `. as [$a] | def g: g | g; g`,
	} {
		start := time.Now()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		result, _, problem := run(t, text, nil)
		runtime.ReadMemStats(&after)
		if problem == "" && text != `try ("x" * 1e9) catch "x"` {
			t.Errorf("%s gives %.60v", text, result)
		}
		t.Logf("%8v %6d MiB %s %s", time.Since(start).Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20, text, problem)
	}
}

// What programs of one record spend together is bounded too.
func TestBudgetIsShared(t *testing.T) {
	t.Parallel()
	p, err := jq.Compile(`last(range(50000))`, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, runs := jq.NewBudget(), 0
	for problem := ""; problem == "" && runs < 10000; runs++ {
		_, _, problem = p.Run(b, nil, nil)
	}
	if runs < 10 || runs == 10000 {
		t.Errorf("%d runs", runs)
	}
}

func TestCompileFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		offset int
		text   string
	}{
		`.a | foo`: {5, "foo"}, `.a |`: {4, "EOF"}, `.a | $x`: {5, "$x"}, `env`: {0, "env"}, `$ENV.PATH`: {0, "$ENV"}, `.a, input`: {4, "input"}, `now`: {0, "now"},
		`.a | $__meter`: {5, "$__meter"}, `import "x" as x; 1`: {0, "import"}, `include "x"; 1`: {-1, "import"}, `halt_error`: {0, "halt_error"}, `.a b`: {3, "b"}, `1 as $__left | 2`: {5, "$__left"},
	} {
		_, err := jq.Compile(text, nil)
		fault, ok := errors.AsType[*jq.SyntaxError](err)
		if !ok || fault.Offset != want.offset || !strings.Contains(fault.Text, want.text) {
			t.Errorf("%s: %+v", text, fault)
		}
	}
}

func TestProblemsHoldNoValues(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`.secret | tonumber`, `error(.secret)`, `.secret + 1`, `.secret | fromjson`, `.secret, 1`, `{} | .[1]`, `.secret | decimal(0)`} {
		_, _, problem := run(t, text, map[string]any{"secret": "hunter2"})
		if problem == "" || strings.Contains(problem, "hunter2") {
			t.Errorf("%s: %q", text, problem)
		}
	}
}

func TestReads(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`.a.b`: "a b|a|false", `.["x y"]`: "x y|x y|false", `.[] | .a`: "a|a|true", `.a | fromjson | .b`: "a b|a b|true", `$event.z`: "z||false", `.`: "||false", `{a}`: "a|a|false", `keys`: "||true",
	} {
		p, err := jq.Compile(text, []string{"$event"})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(p.Reads.Names, " ") + "|" + strings.Join(p.Reads.Tops, " ") + "|" + map[bool]string{true: "true", false: "false"}[p.Reads.Whole]
		if got != want {
			t.Errorf("%s reads %s, want %s", text, got, want)
		}
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	in := map[string]any{"a": map[string]any{"b": []any{1, 2}}}
	for text, want := range map[string]int{`.a.b[]`: 2, `.a.b[0]`: 1, `.a | select(.b)`: 1, `1`: -1, `[.a]`: -1} {
		p, err := jq.Compile(text, nil)
		if err != nil {
			t.Fatal(err)
		}
		paths, ok := p.Paths(jq.NewBudget(), in, nil)
		if ok != (want >= 0) || ok && len(paths) != want {
			t.Errorf("%s: %v %v", text, paths, ok)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	p, err := jq.Compile(`.person.mail | ascii_downcase`, nil)
	if err != nil {
		b.Fatal(err)
	}
	in := map[string]any{"person": map[string]any{"mail": "A@example.com"}}
	for b.Loop() {
		if _, _, problem := p.Run(jq.NewBudget(), in, nil); problem != "" {
			b.Fatal(problem)
		}
	}
}
