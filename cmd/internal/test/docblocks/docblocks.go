// Package docblocks reads the shell blocks of documents, so that tests can run each command in
// them, or check it against the commands that exist.
//
// It must not know what the commands are: its callers do.
package docblocks

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// A Command is a simple command of a block.
type Command struct {
	Place  string   // path:line
	Words  []string // without quotes; what the shell would expand stays as it is written
	Output string   // the file that > names; empty: stdout
}

// Text is the command in one line, for messages.
func (c Command) Text() string { return c.Place + ": " + strings.Join(c.Words, " ") }

// A Block is a fenced shell block.
type Block struct {
	Line     int // of its first command
	Commands []Command
}

// Read returns the shell blocks of a document. Other fenced blocks must name their language, and
// nothing may be a block by indentation after an empty line, which names none.
func Read(path string) ([]Block, error) {
	text, err := os.ReadFile(path) //nolint:gosec // a document of the repository
	if err != nil {
		return nil, err
	}
	var blocks []Block
	lines := strings.Split(string(text), "\n")
	for i := 0; i < len(lines); i++ {
		fence := regexp.MustCompile("^( *)```(.*)$").FindStringSubmatch(lines[i])
		if fence == nil {
			if strings.HasPrefix(lines[i], "    ") && (i == 0 || lines[i-1] == "") {
				return nil, fmt.Errorf("%s:%d: use a fence with a language instead of indentation", path, i+1)
			}
			continue
		}
		end := slices.Index(lines[i+1:], fence[1]+"```")
		switch {
		case end < 0:
			return nil, fmt.Errorf("%s:%d: the fence is not closed", path, i+1)
		case fence[2] == "sh":
			commands, err := Parse(path, i+2, strings.Join(lines[i+1:i+1+end], "\n"))
			if err != nil {
				return nil, err
			}
			blocks = append(blocks, Block{Line: i + 2, Commands: commands})
		case !slices.Contains([]string{"json", "yaml", "text", "mermaid"}, fence[2]):
			return nil, fmt.Errorf("%s:%d: unknown language %q: want sh, json, yaml, text or mermaid", path, i+1, fence[2])
		}
		i += 1 + end
	}
	return blocks, nil
}

// Parse returns the simple commands of a shell text that begins at a line, those of pipelines and
// substitutions included.
func Parse(path string, line int, text string) ([]Command, error) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), path)
	if err != nil {
		return nil, fmt.Errorf("%s, in the block at line %d: %w", path, line, err)
	}
	var commands []Command
	syntax.Walk(file, func(node syntax.Node) bool {
		statement, ok := node.(*syntax.Stmt)
		if !ok {
			return true
		}
		call, ok := statement.Cmd.(*syntax.CallExpr)
		if !ok {
			return true
		}
		at := line + int(call.Pos().Line()) - 1
		c := Command{Place: fmt.Sprintf("%s:%d", path, at)}
		for _, word := range call.Args {
			c.Words = append(c.Words, textOf(word))
		}
		for _, redirect := range statement.Redirs {
			if redirect.Op == syntax.RdrOut {
				c.Output = textOf(redirect.Word)
			}
		}
		commands = append(commands, c)
		return true
	})
	return commands, nil
}

// textOf is a word without its quotes, or as it is written if it holds more than text.
func textOf(word *syntax.Word) string {
	var b strings.Builder
	if appendParts(&b, word.Parts) {
		return b.String()
	}
	b.Reset()
	_ = syntax.NewPrinter().Print(&b, word)
	return b.String()
}

// appendParts reports whether the parts are text alone.
func appendParts(b *strings.Builder, parts []syntax.WordPart) bool {
	for _, part := range parts {
		switch p := part.(type) {
		case *syntax.Lit:
			b.WriteString(p.Value)
		case *syntax.SglQuoted:
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			if !appendParts(b, p.Parts) {
				return false
			}
		default:
			return false
		}
	}
	return true
}
