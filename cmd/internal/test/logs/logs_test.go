package logs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../../../.."

// severities are the levels by their names in log/slog, the least severe first.
func severities() []string { return []string{"LevelDebug", "LevelInfo", "LevelWarn", "LevelError"} }

// Every message that the program logs is in the page, with its levels. Every message of the page is
// logged.
func TestThePageHasEveryMessage(t *testing.T) {
	t.Parallel()
	logged := make(map[string]map[string]bool)
	files := 0
	for _, path := range sources(t) {
		files++
		for message, levels := range messagesOf(t, path) {
			if logged[message] == nil {
				logged[message] = make(map[string]bool)
			}
			for level := range levels {
				logged[message][level] = true
			}
		}
	}
	if files < 100 || len(logged) < 50 {
		t.Fatalf("%d files with %d messages: the test looks in the wrong place", files, len(logged))
	}
	want := make(map[string]string, len(logged))
	for message, levels := range logged {
		want[message] = spelled(levels)
	}
	if d := cmp.Diff(want, page(t)); d != "" {
		t.Errorf("cmd/LOGS.md (-source +page):\n%s", d)
	}
}

// spelled returns levels as the page has them: "debug or warn".
func spelled(levels map[string]bool) string {
	var words []string
	for _, name := range severities() {
		if levels[name] {
			words = append(words, strings.ToLower(strings.TrimPrefix(name, "Level")))
		}
	}
	return strings.Join(words, " or ")
}

// sources are the files of the program, without tests and without the programs for development.
func sources(t *testing.T) (paths []string) {
	t.Helper()
	for _, folder := range []string{"cmd/internal", "cmd/membersync", "consumer", "crmapi", "dedupe", "dlq", "mapper"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && (strings.HasSuffix(entry.Name(), "test") || entry.Name() == "testdata"):
				return fs.SkipDir
			case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
				paths = append(paths, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// messagesOf returns the messages that a file logs, with their levels. A call of another form than
// LogAttrs with a constant message fails the test.
func messagesOf(t *testing.T, path string) map[string]map[string]bool {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]map[string]bool)
	for _, declared := range file.Decls {
		ast.Inspect(declared, func(n ast.Node) bool {
			call, isCall := n.(*ast.CallExpr)
			if !isCall {
				return true
			}
			selector, isMethod := call.Fun.(*ast.SelectorExpr)
			if !isMethod {
				return true
			}
			at := set.Position(call.Pos())
			if isOtherLog(selector) {
				t.Errorf("%s: not LogAttrs, so its message cannot be found", at)
			}
			if selector.Sel.Name != "LogAttrs" || len(call.Args) < 3 {
				return true
			}
			message, ok := constant(call.Args[2])
			levels := levelsOf(call.Args[1], declared)
			if !ok || len(levels) == 0 {
				t.Errorf("%s: the message is no constant, or its level cannot be found", at)
				return true
			}
			if found[message] == nil {
				found[message] = make(map[string]bool)
			}
			for level := range levels {
				found[message][level] = true
			}
			return true
		})
	}
	return found
}

// isOtherLog reports whether a method of a logger is called that is not LogAttrs.
func isOtherLog(s *ast.SelectorExpr) bool {
	receiver := ""
	switch x := s.X.(type) {
	case *ast.Ident:
		receiver = x.Name
	case *ast.SelectorExpr:
		receiver = x.Sel.Name
	}
	isLogger := slices.Contains([]string{"log", "slog", "logger"}, strings.ToLower(receiver))
	name := strings.TrimSuffix(s.Sel.Name, "Context")
	return isLogger && slices.Contains([]string{"Debug", "Info", "Warn", "Error", "Log"}, name)
}

// constant returns the value of a text that may be joined of several.
func constant(e ast.Expr) (string, bool) {
	switch x := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(x.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		left, isLeft := constant(x.X)
		right, isRight := constant(x.Y)
		return left + right, isLeft && isRight
	}
	return "", false
}

// levelsOf returns the levels that an expression may have: the one that it names, those of levelOf,
// or all that the function assigns to the variable.
func levelsOf(e ast.Expr, function ast.Node) map[string]bool {
	if call, ok := e.(*ast.CallExpr); ok {
		if name, isIdent := call.Fun.(*ast.Ident); isIdent && name.Name == "levelOf" {
			return map[string]bool{"LevelDebug": true, "LevelWarn": true}
		}
	}
	values := []ast.Expr{e}
	if variable, ok := e.(*ast.Ident); ok {
		values = assigned(variable.Name, function)
	}
	levels := make(map[string]bool)
	for _, value := range values {
		if s, ok := value.(*ast.SelectorExpr); ok && slices.Contains(severities(), s.Sel.Name) {
			levels[s.Sel.Name] = true
		}
	}
	return levels
}

// assigned returns the values that a function assigns to a variable.
func assigned(name string, function ast.Node) (values []ast.Expr) {
	ast.Inspect(function, func(n ast.Node) bool {
		assignment, ok := n.(*ast.AssignStmt)
		if !ok || len(assignment.Lhs) != len(assignment.Rhs) {
			return true
		}
		for i, left := range assignment.Lhs {
			if variable, isIdent := left.(*ast.Ident); isIdent && variable.Name == name {
				values = append(values, assignment.Rhs[i])
			}
		}
		return true
	})
	return values
}

// page returns the messages of the page with their levels. Each has a meaning and what to do.
func page(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "cmd/LOGS.md"))
	if err != nil {
		t.Fatal(err)
	}
	entry := regexp.MustCompile("^- `([^`]+)` \\(([a-z ]+)\\): .+ \\*Do:\\* .+$")
	messages := make(map[string]string)
	for item := range strings.SplitSeq(string(text), "\n\n") {
		if !strings.HasPrefix(item, "- `") {
			continue
		}
		parts := entry.FindStringSubmatch(strings.Join(strings.Fields(item), " "))
		if parts == nil {
			t.Errorf("not \"- `message` (level): meaning. *Do:* what to do\": %s", item)
			continue
		}
		if _, twice := messages[parts[1]]; twice {
			t.Errorf("twice in the page: %s", parts[1])
		}
		messages[parts[1]] = parts[2]
	}
	return messages
}

// The finder sees what it should, and what it cannot read.
func TestTheFinder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sample.go")
	const source = `package sample

func f() {
	level, n := slog.LevelDebug, 1
	if bad {
		level = slog.LevelWarn
	}
	log.LogAttrs(ctx, level, "first", attr)
	s.log.LogAttrs(ctx, slog.LevelInfo, "second, "+
		"in parts")
	s.log.LogAttrs(ctx, levelOf(ctx), "third")
}
`
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for message, levels := range messagesOf(t, path) {
		got[message] = spelled(levels)
	}
	want := map[string]string{"first": "debug or warn", "second, in parts": "info", "third": "debug or warn"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for text, isOther := range map[string]bool{"log.Info": true, "p.Logger.WarnContext": true, "slog.Error": true, "p.log.LogAttrs": false, "err.Error": false} {
		e, err := parser.ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		s, ok := e.(*ast.SelectorExpr)
		if !ok || isOtherLog(s) != isOther {
			t.Errorf("%s: want %v", text, isOther)
		}
	}
}
