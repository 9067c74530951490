package spec

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
)

// A FileError is one thing that is wrong with a mapping file.
type FileError struct {
	File         string
	Line, Column int
	Text         string
}

// Error implements error.
func (f FileError) Error() string {
	return f.File + ":" + strconv.Itoa(f.Line) + ":" + strconv.Itoa(f.Column) + ": " + f.Text
}

// FileErrors are all faults of a file, in its order.
type FileErrors []FileError

// Error implements error: a line for each fault.
func (fs FileErrors) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the faults as errors.
func (fs FileErrors) Unwrap() []error {
	errs := make([]error, len(fs))
	for i, f := range fs {
		errs[i] = f
	}
	return errs
}

// A Log gathers faults of one file.
type Log struct {
	File   string
	faults FileErrors
}

// Add notes a fault.
func (l *Log) Add(at Pos, text string) {
	l.faults = append(l.faults, FileError{File: l.File, Line: max(at.Line, 1), Column: max(at.Column, 1), Text: text})
}

// Len counts the faults.
func (l *Log) Len() int { return len(l.faults) }

// Err returns the faults in the order of the file, nil if there are none.
func (l *Log) Err() error {
	if len(l.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(l.faults, func(a, b FileError) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l.faults
}

// Hint returns "; X is meant?" for the name that is nearest, or nothing if none is near.
func Hint(name string, known []string) string {
	best, distance := "", (len(name)+2)/3+1
	for _, k := range known {
		if d := levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; is " + best + " meant?"
}
