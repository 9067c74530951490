package deploycheck

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestSourceWords(t *testing.T) {
	t.Parallel()
	assertRatchet(t, "todo", todo(), CheckWords)
}

func TestSourceColumns(t *testing.T) {
	t.Parallel()
	assertRatchet(t, "wide", wide(), CheckColumns)
}

func assertRatchet(t *testing.T, list string, ratchet Ratchet, check func(Source) []Finding) {
	t.Helper()
	sources, err := Sources(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) < 100 {
		t.Fatalf("only %d sources were found", len(sources))
	}
	var findings []Finding
	for _, source := range sources {
		findings = append(findings, check(source)...)
	}
	faults := ratchet.Faults(findings)
	for _, fault := range faults {
		t.Error(fault)
	}
	if len(faults) > 0 {
		t.Errorf("%d faults; the list is %s() in .ci/tools-mod/words_lists.go", len(faults), list)
	}
}

// TestEachBannedWordIsFound writes every word and phrase of the table in each way that a source can.
func TestEachBannedWordIsFound(t *testing.T) {
	t.Parallel()
	for banned := range replacementOf() {
		parts := strings.Fields(banned)
		camel := ""
		for _, part := range parts {
			camel += string(unicode.ToUpper(rune(part[0]))) + part[1:]
		}
		snake := strings.Join(parts, "_")
		for _, text := range []string{
			banned, "The " + banned + ".", strings.ToUpper(banned), "// one\n// " + strings.Join(parts, "\n\t// ") + "\n",
			camel, "a" + camel + "B", "ID" + camel, "HTTP_" + snake + "_1", snake + "2", `"\n` + banned + `"`,
		} {
			if found := foundIn(text); !slices.Contains(found, banned) {
				t.Errorf("in %q found %q, want %q", text, found, banned)
			}
		}
		if found := foundIn("pre" + strings.Join(parts, "") + "post"); len(found) > 0 {
			t.Errorf("inside of a longer word found %q", found)
		}
	}
}

func TestCheckWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want string
	}{
		{"A letter, Letters and aLetter", "letter letters letter"},
		{"Dead letters, dead-letter, DeadLetters, dead_letter, deadLetter", ""},
		{"a dead\n\t// letter", ""},
		{"lower-case letters, a capital letter, single letters, ASCII letters", ""},
		{"letters and digits, a letter or digit; letters, digits and dots", ""},
		{"letters and more", "letters"},
		{"birthDate, date_of_birth, the birth", "birth"},
		{"lookup crm: no such host; open a: no such file or directory", ""},
		{"wait for it if there is none", ""},
		{"background, diet, embed, doubtless, Bearer, besides, engrave", ""},
		{"guilty\nbeside", "guilty beside"},
		{"There is no such topic; noSuchTopic, but: for example", "no such|no such"},
		{"but,\nfor", ""},
		{"but\n\nfor", ""},
		{"all but\n// for one", "but for"},
		{"the way of an event", "way of an event"},
		{"say, work, read, key, span, order, news, told, answer, held", ""},
	} {
		t.Run(c.text, func(t *testing.T) {
			t.Parallel()
			found := foundIn(c.text)
			if got := strings.Join(found, " "); got != strings.ReplaceAll(c.want, "|", " ") {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		source Source
		want   string
	}{
		{Source{Path: "consumer/a.go", Text: "one\n\ntwo anew"}, "consumer/a.go:3: anew (write: again)"},
		{Source{Path: "desk/weather_test.go", Text: "one"}, "desk/weather_test.go: name of the file: weather (write: faults)"},
		{Source{Path: "a.lua", Text: "-- the dice\n"}, "a.lua:1: dice (write: random source)"},
	} {
		t.Run(c.source.Path, func(t *testing.T) {
			t.Parallel()
			if findings := CheckWords(c.source); len(findings) != 1 || findings[0].String() != c.want {
				t.Errorf("findings %q, want %q", findings, c.want)
			}
		})
	}
}

func TestCheckColumns(t *testing.T) {
	t.Parallel()
	long := func(columns int) string { return strings.Repeat("é", columns) }
	for _, c := range []struct {
		name, file, text string
		want             []int // lines
	}{
		{"100", "a.go", "// " + long(97) + "\n", nil},
		{"101", "a.go", "package a\n\n// " + long(98) + "\n", []int{3}},
		{"indented", "a.go", "\t// " + long(97) + "\n", []int{1}},
		{"code", "a.go", "var a = f(" + long(120) + ")\n", nil},
		{"string", "a.go", "var a = `\n// " + long(120) + "`\n", nil},
		{"trailing", "a.go", "var a = " + long(20) + " // " + long(88) + "\n", nil},
		{"long trailing", "a.go", "var a = " + long(20) + " // " + long(89) + "\n", []int{1}},
		{"long part", "a.go", "var a // " + long(98) + "\n", []int{1}},
		{"block", "a.go", "/* one\n" + long(101) + "\n*/\n\n// " + long(98), []int{2, 5}},
		{"nolint", "a.go", "f() //nolint:errcheck // " + long(120) + "\n", nil},
		{"directive", "a.go", "//go:generate " + long(120) + "\n", nil},
		{"URL", "a.go", "// See https://example.com/" + long(120) + "\n", nil},
		{"text with a URL", "a.go", "// See https://example.com " + long(120) + "\n", []int{1}},
		{"lua", "a.lua", "-- " + long(98) + "\nreturn " + long(120) + "\nreturn 1 -- " + long(108), []int{1, 3}},
		{"prose", "a.md", long(100) + "\n" + long(101) + "\n", []int{2}},
		{"fence", "a.md", "```sh\n" + long(101) + "\n```\n" + long(101) + "\n", []int{4}},
		{"row", "a.md", "| a " + long(98) + " |\n| " + long(50) + " " + long(50) + " |\n", []int{1, 2}},
		{"row of one token", "a.md", "| " + long(101) + " |\n", nil},
		{"bullet of one token", "a.md", "- " + long(101) + "\n", []int{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var lines []int
			for _, f := range CheckColumns(Source{Path: c.file, Text: c.text}) {
				lines = append(lines, f.Line)
			}
			if !slices.Equal(lines, c.want) {
				t.Errorf("lines %d, want %d", lines, c.want)
			}
		})
	}
}

func TestRatchet(t *testing.T) {
	t.Parallel()
	list := Ratchet{"dlq": 2, "dlq/RUNBOOK.md": 1, "cmd/internal/cli": 1}
	base := map[string]int{"dlq/a.go": 1, "dlq/inner/b.go": 1, "dlq/RUNBOOK.md": 1, "cmd/internal/cli/c.go": 1}
	for _, c := range []struct {
		name, file string
		count      int
		want       []string
	}{
		{"same", "dlq/a.go", 1, nil},
		{"not listed", "cmd/main.go", 1, []string{"cmd/main.go:1: word"}},
		{"fewer", "dlq/inner/b.go", 0, []string{"dlq: fewer are left: write 1 instead of 2"}},
		{"none", "dlq/RUNBOOK.md", 0, []string{"dlq/RUNBOOK.md: nothing is left: delete its entry"}},
		{"more", "cmd/internal/cli/c.go", 2, []string{
			"cmd/internal/cli/c.go:1: word", "cmd/internal/cli/c.go:2: word",
			"cmd/internal/cli: there are 2, and the list allows 1",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			counts := maps.Clone(base)
			counts[c.file] = c.count
			var findings []Finding
			for file, count := range counts {
				for line := range count {
					findings = append(findings, Finding{Path: file, Line: line + 1, Reason: "word"})
				}
			}
			slices.Sort(c.want)
			if faults := list.Faults(findings); !slices.Equal(faults, c.want) {
				t.Errorf("faults %q, want %q", faults, c.want)
			}
		})
	}
}

// foundIn returns the banned words and phrases in a text.
func foundIn(text string) []string {
	var found []string
	for _, f := range CheckWords(Source{Path: "a.go", Text: text}) {
		banned, _, _ := strings.Cut(f.Reason, " (")
		found = append(found, banned)
	}
	return found
}
