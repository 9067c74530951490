package deploycheck

import (
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Source is a file whose words and line lengths are checked.
type Source struct {
	Path string // relative to the root of the repository
	Text string
}

// Sources reads the files below a folder that people write, except test data, and this checker, which
// has the words in its tables.
func Sources(root string) ([]Source, error) {
	var sources []Source
	files := os.DirFS(root)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", ".tools", "tools-mod", "testdata"}, entry.Name()):
			return fs.SkipDir
		case entry.IsDir() || !slices.Contains([]string{".go", ".lua", ".md", ".yaml", ".yml", ".html", ".js", ".css", ""}, path.Ext(name)):
			return nil
		}
		text, err := fs.ReadFile(files, name)
		sources = append(sources, Source{Path: name, Text: string(text)})
		return err
	})
	return sources, err
}

// A Finding is a place in a source that must change.
type Finding struct {
	Path   string
	Line   int // 0: the name of the file
	Reason string
}

func (f Finding) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: name of the file: %s", f.Path, f.Reason)
	}
	return fmt.Sprintf("%s:%d: %s", f.Path, f.Line, f.Reason)
}

// CheckWords finds the banned words and phrases in a source and in the name of its file.
func CheckWords(source Source) []Finding {
	replacements := replacementOf()
	findings := checkWords(source.Path, splitWords(path.Base(source.Path), 0), replacements)
	return append(findings, checkWords(source.Path, splitWords(source.Text, 1), replacements)...)
}

func checkWords(file string, words []word, replacements map[string]string) []Finding {
	var findings []Finding
	for i := range words {
		for _, text := range phrasesAt(words, i) {
			replacement, isBanned := replacements[text]
			if !isBanned || isStandardTerm(words, i, text) {
				continue
			}
			reason := fmt.Sprintf("%s (write: %s)", text, replacement)
			findings = append(findings, Finding{Path: file, Line: words[i].line, Reason: reason})
		}
	}
	return findings
}

// A word is a part of a text without a border inside: DeadLetters, dead_letters and "dead letters"
// are two words each.
type word struct {
	text string // in lower case
	line int
	gap  string // the characters between the previous word and this one
}

// splitWords splits a text at whatever is no letter, and inside of identifiers where a new part
// begins. A character after a backslash belongs to an escape sequence, not to a word.
func splitWords(text string, line int) []word {
	var words []word
	runes := []rune(text)
	gap := 0
	for i := 0; i < len(runes); {
		if unicode.IsLetter(runes[i]) {
			end := endOfWord(runes, i)
			words = append(words, word{
				text: strings.ToLower(string(runes[i:end])), line: line, gap: string(runes[gap:i]),
			})
			i, gap = end, end
			continue
		}
		if runes[i] == '\\' && i+1 < len(runes) && unicode.IsLetter(runes[i+1]) {
			i++
		}
		if runes[i] == '\n' && line > 0 {
			line++
		}
		i++
	}
	return words
}

// endOfWord returns the end of the word that begins at start: in HTTPClient first the end of HTTP.
func endOfWord(runes []rune, start int) int {
	end := start
	for end < len(runes) && unicode.IsUpper(runes[end]) {
		end++
	}
	isLower := func(i int) bool {
		return i < len(runes) && unicode.IsLetter(runes[i]) && !unicode.IsUpper(runes[i])
	}
	if end > start+1 {
		if isLower(end) {
			end-- // the last capital begins the next word
		}
		return end
	}
	for isLower(end) {
		end++
	}
	return end
}

// phrasesAt returns the word at i, and the phrases of up to four words that begin with it. A phrase
// may go on in the next line of a comment, but not beyond a punctuation mark or a blank line.
func phrasesAt(words []word, i int) []string {
	phrases := []string{words[i].text}
	for _, next := range words[i+1 : min(i+4, len(words))] {
		if strings.Trim(next.gap, " \t\n/*#->_") != "" || strings.Count(next.gap, "\n") > 1 {
			break
		}
		phrases = append(phrases, phrases[len(phrases)-1]+" "+next.text)
	}
	return phrases
}

// isStandardTerm reports whether the banned text at i is part of a term that every reader knows: a
// letter of the alphabet, a dead letter, a date of birth, "there is none", or the operating system's own
// message about a host or a file.
func isStandardTerm(words []word, i int, text string) bool {
	at := func(i int) string {
		if i < 0 || i >= len(words) {
			return ""
		}
		return words[i].text
	}
	isOneOf := func(word string, all ...string) bool { return slices.Contains(all, word) }
	switch text {
	case "letter", "letters":
		next := at(i + 1)
		if next == "spacing" { // a property of CSS
			return true
		}
		if isOneOf(next, "of", "or", "and") {
			next = at(i + 2)
		}
		return isOneOf(next, "digit", "digits") ||
			isOneOf(at(i-1), "dead", "case", "upper", "lower", "capital", "single", "ascii", "latin")
	case "birth":
		return at(i+1) == "date" || at(i-1) == "of" && at(i-2) == "date"
	case "is none":
		return at(i-1) == "there"
	case "no such":
		return isOneOf(at(i+2), "host", "file")
	default:
		return false
	}
}

const (
	maxColumns         = 100 // of a line of prose or of a comment
	maxTrailingColumns = 120 // of a line of code with its comment
)

// CheckColumns finds the lines of prose and of comments that are too long.
func CheckColumns(source Source) []Finding {
	lines := strings.Split(source.Text, "\n")
	switch path.Ext(source.Path) {
	case ".go":
		return checkGoColumns(source, lines)
	case ".lua":
		return checkLuaColumns(source, lines)
	case ".md":
		return checkMarkdownColumns(source, lines)
	default:
		return nil
	}
}

func checkGoColumns(source Source, lines []string) []Finding {
	var findings []Finding
	file := token.NewFileSet().AddFile(source.Path, -1, len(source.Text))
	var s scanner.Scanner
	s.Init(file, []byte(source.Text), nil, scanner.ScanComments)
	for {
		pos, tok, comment := s.Scan()
		if tok == token.EOF {
			return findings
		}
		if tok != token.COMMENT || strings.HasPrefix(comment, "//nolint") || strings.HasPrefix(comment, "//go:") {
			continue
		}
		position := file.PositionFor(pos, false)
		column := position.Column - 1
		for i := range strings.Split(comment, "\n") {
			line := lines[position.Line-1+i]
			findings = appendLong(findings, source.Path, position.Line+i, line[:column], line[column:])
			column = 0
		}
	}
}

func checkLuaColumns(source Source, lines []string) []Finding {
	var findings []Finding
	for i, line := range lines {
		if column := strings.Index(line, "--"); column >= 0 {
			findings = appendLong(findings, source.Path, i+1, line[:column], line[column:])
		}
	}
	return findings
}

func checkMarkdownColumns(source Source, lines []string) []Finding {
	var findings []Finding
	isFenced := false
	for i, line := range lines {
		isFence := strings.HasPrefix(strings.TrimSpace(line), "```")
		isFenced = isFenced != isFence
		isRow := strings.HasPrefix(strings.TrimSpace(line), "|")
		if isFenced || isFence || isRow && slices.ContainsFunc(strings.Fields(line), isTooLong) {
			continue
		}
		findings = appendLong(findings, source.Path, i+1, "", line)
	}
	return findings
}

// appendLong appends a finding if the comment, or the line that it ends, is too long.
func appendLong(findings []Finding, file string, line int, code, comment string) []Finding {
	long, limit := code+comment, maxColumns
	if strings.TrimSpace(code) != "" && !isTooLong(comment) {
		limit = maxTrailingColumns
	}
	if columns(long) <= limit {
		return findings
	}
	reason := fmt.Sprintf("%d columns (at most %d)", columns(long), limit)
	return append(findings, Finding{Path: file, Line: line, Reason: reason})
}

func isTooLong(text string) bool { return columns(text) > maxColumns }

// columns counts the characters of a line without its URLs, which cannot be wrapped.
func columns(line string) int {
	return utf8.RuneCountInString(regexp.MustCompile(`https?://\S+`).ReplaceAllString(line, ""))
}

// A Ratchet holds the folders and files that may still have findings, with the number of them. A
// file counts for the nearest entry above it. All other files must have none.
type Ratchet map[string]int

// Faults compares the findings with the list. Numbers can only fall, and the list has to follow.
func (r Ratchet) Faults(findings []Finding) []string {
	var faults []string
	found := map[string][]string{}
	for _, f := range findings {
		if entry := r.entryOf(f.Path); entry != "" {
			found[entry] = append(found[entry], f.String())
		} else {
			faults = append(faults, f.String())
		}
	}
	for entry, listed := range r {
		switch now := len(found[entry]); {
		case now == 0:
			faults = append(faults, fmt.Sprintf("%s: nothing is left: delete its entry", entry))
		case now < listed:
			faults = append(faults, fmt.Sprintf("%s: fewer are left: write %d instead of %d", entry, now, listed))
		case now > listed:
			faults = append(faults, found[entry]...)
			faults = append(faults, fmt.Sprintf("%s: there are %d, and the list allows %d", entry, now, listed))
		}
	}
	slices.Sort(faults)
	return faults
}

// entryOf returns the entry that a file counts for, or "".
func (r Ratchet) entryOf(file string) string {
	for ; file != "."; file = path.Dir(file) {
		if _, isListed := r[file]; isListed {
			return file
		}
	}
	return ""
}
