// Package jq compiles and runs the jq programs of mapping files (github.com/itchyny/gojq).
//
// A program has no environment, no modules, no input but its value, and no clock. Its steps and the
// size of what it makes are counted, so it ends, and with the same result each time. A text of a
// problem never holds a value.
package jq

import (
	"errors"
	"strings"
	"time"

	"github.com/itchyny/gojq"
)

// The bounds of one run. A step takes about 50 ns.
const (
	maxSteps  = 1_000_000
	maxSize   = 8 << 20  // of all values that it makes, in nodes and bytes
	maxIndex  = 100_000  // of an entry in a list
	maxRegexp = 64 << 10 // bytes of a text that regular expressions look at
	maxDepth  = 1000     // of a value that it makes
)

// A Program is a compiled jq program. It is immutable and safe for concurrent use.
type Program struct {
	Reads Reads

	code, paths *gojq.Code
	variables   []string
}

// A SyntaxError is what is wrong with the text of a program.
type SyntaxError struct {
	Offset int // in bytes; -1 if it is not known
	Text   string
}

// Error implements error.
func (f *SyntaxError) Error() string { return f.Text }

// Budget is what the programs of one record may spend together. The zero value is empty.
type Budget struct{ Steps, Size int }

// NewBudget returns the budget of a record: that of five of the longest runs.
func NewBudget() *Budget { return &Budget{Steps: 5 * maxSteps, Size: 5 * maxSize} }

// Compile compiles a program that may use the variables.
func Compile(text string, variables []string) (*Program, error) {
	query, err := gojq.Parse(text)
	if err != nil {
		return nil, parseFault(text, err)
	}
	p := &Program{variables: variables}
	p.Reads = readsOf(query)
	r := rewriter{own: map[string]bool{}}
	r.query(query)
	if r.refused != "" {
		return nil, &SyntaxError{Offset: strings.Index(text, r.refused), Text: "uses " + r.refused + ", which is not available in a mapping"}
	}
	options := []gojq.CompilerOption{gojq.WithVariables(append([]string{meterVariable}, variables...))}
	options = append(options, functions()...)
	if p.code, err = gojq.Compile(query, options...); err != nil {
		return nil, compileFault(text, err)
	}
	within := &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: &gojq.Func{Name: "path", Args: []*gojq.Query{query}}}}
	p.paths, _ = gojq.Compile(within, options...) // a program that is no path has none; that shows when it runs
	return p, nil
}

func parseFault(text string, err error) *SyntaxError {
	wrong, ok := errors.AsType[*gojq.ParseError](err)
	if !ok {
		return &SyntaxError{Offset: -1, Text: "is no jq program"}
	}
	return &SyntaxError{Offset: max(min(wrong.Offset, len(text))-len(wrong.Token), 0), Text: err.Error()}
}

// compileFault finds the name that the compiler does not know.
func compileFault(text string, err error) *SyntaxError {
	fault := &SyntaxError{Offset: -1, Text: err.Error()}
	if _, name, ok := strings.Cut(fault.Text, "not defined: "); ok {
		name, _, _ = strings.Cut(name, "/")
		fault.Offset = strings.Index(text, name)
	}
	return fault
}

// What can go wrong with a run. None of it holds a value.
const (
	failed   = "fails in its jq program"
	endless  = "exceeds the bound of a jq program on steps"
	oversize = "exceeds the bound of a jq program on memory"
	several  = "gets more than one value from its jq program"
)

// Run runs the program on a value, which is not changed, and returns its one result. Some is
// false if it has none.
func (p *Program) Run(b *Budget, v any, values []any) (result any, some bool, problem string) {
	m := newMeter(b)
	defer m.settle(b)
	iter := p.code.RunWithContext(m, v, append([]any{m}, values...)...)
	result, some = iter.Next()
	if problem = m.problem(result); problem != "" || !some {
		return nil, false, problem
	}
	if !m.charge(result, 0) {
		return nil, false, oversize
	}
	another, more := iter.Next()
	if problem = m.problem(another); problem != "" {
		return nil, false, problem
	}
	if more {
		return nil, false, several
	}
	return result, true, ""
}

// Paths returns the places in a value that the program reads its results from. Ok is false if the
// program makes its results itself.
func (p *Program) Paths(b *Budget, v any, values []any) (paths [][]any, ok bool) {
	if p.paths == nil {
		return nil, false
	}
	m := newMeter(b)
	defer m.settle(b)
	iter := p.paths.RunWithContext(m, v, append([]any{m}, values...)...)
	for {
		next, more := iter.Next()
		switch {
		case m.problem(next) != "":
			return nil, false
		case !more:
			return paths, true
		}
		place, isPath := next.([]any)
		if !isPath {
			return nil, false
		}
		paths = append(paths, place)
	}
}

// Variables lists the variables that the program may use, in the order of the values of Run.
func (p *Program) Variables() []string { return p.variables }

// A meter counts what one run spends. It is the context of the run: gojq asks Done before each
// step.
type meter struct {
	steps, size int
	done        chan struct{}
	over        string
}

func newMeter(b *Budget) *meter {
	return &meter{steps: min(maxSteps, b.Steps), size: min(maxSize, b.Size)}
}

// settle takes what was spent from the budget.
func (m *meter) settle(b *Budget) {
	b.Steps -= min(maxSteps, b.Steps) - max(m.steps, 0)
	b.Size -= min(maxSize, b.Size) - max(m.size, 0)
}

func (m *meter) problem(v any) string {
	if m.over != "" {
		return m.over
	}
	if _, is := v.(error); is {
		return failed
	}
	return ""
}

// stop ends the run at its next step.
func (m *meter) stop(why string) {
	if m.over == "" {
		m.over, m.done = why, make(chan struct{})
		close(m.done)
	}
}

// Done is asked before each step.
func (m *meter) Done() <-chan struct{} {
	if m.steps--; m.steps < 0 {
		m.stop(endless)
	}
	return m.done
}

// Deadline reports none: the bound is one of steps, so that a result never depends on a clock.
func (m *meter) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

// Err reports why the run ended.
func (m *meter) Err() error { return errOver }

// Value has none.
func (m *meter) Value(any) any { return nil }

var (
	errOver = errors.New("out of bounds")
	errArgs = errors.New("not of the type that it should be")
)
