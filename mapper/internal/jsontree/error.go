package jsontree

import (
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// A Problem is what is wrong with a text.
type Problem uint8

// The problems of a text.
const (
	Syntax    Problem = iota // no valid JSON
	NotUTF8                  // invalid UTF-8
	CutOff                   // it ends in the middle
	Duplicate                // an object has a name twice
	TooDeep                  // nested too deeply
	Behind                   // something stands behind the value
)

// An Error says what is wrong with a text and where. It holds nothing of the text but
// the names on the way to the place, which are for the caller to judge.
type Error struct {
	Problem Problem
	Offset  int // in the record's value
	Pointer jsontext.Pointer
}

// Error implements error. It repeats no name.
func (e *Error) Error() string {
	switch e.Problem {
	case NotUTF8:
		return "is not valid UTF-8 here"
	case CutOff:
		return "ends in the middle"
	case Duplicate:
		return "holds a member name twice"
	case TooDeep:
		return "is nested too deeply"
	case Behind:
		return "goes on after the JSON value"
	case Syntax:
	}
	return "is not valid JSON here"
}

// maxDepth is the decoder's bound on nesting.
const maxDepth = 10000

// end refuses what stands behind the value.
func (t *Tree) end() error {
	at := int(t.decoder.InputOffset())
	_, err := t.decoder.ReadToken()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err := t.notUTF8(); err != nil {
		return err
	}
	for ; strings.IndexByte(" \t\r\n", t.text[at]) >= 0; at++ { // there is something else, or it would be the end
	}
	return t.wrong(Behind, at)
}

// explain turns a decoder's error into one that does not quote the input.
func (t *Tree) explain(err error) error {
	if err := t.notUTF8(); err != nil {
		return err
	}
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return t.wrong(CutOff, len(t.text))
	}
	found := t.wrong(Syntax, int(syntax.ByteOffset))
	found.Pointer = syntax.JSONPointer
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		found.Problem = Duplicate
	case errors.Is(err, io.ErrUnexpectedEOF):
		found.Problem = CutOff
	case strings.Count(string(syntax.JSONPointer), "/") >= maxDepth:
		found.Problem = TooDeep
	}
	return found
}

func (t *Tree) notUTF8() error {
	if utf8.Valid(t.text) {
		return nil
	}
	at := 0
	for at < len(t.text) {
		r, n := utf8.DecodeRune(t.text[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return t.wrong(NotUTF8, at)
}

func (t *Tree) wrong(problem Problem, at int) *Error {
	return &Error{Problem: problem, Offset: t.offset(at)}
}

// offset turns a place in the text into one in the record's value.
func (t *Tree) offset(at int) int {
	if t.inner {
		return t.base
	}
	return t.base + at
}
