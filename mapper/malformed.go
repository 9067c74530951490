package mapper

import (
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// malformed words a decoder's error. Its own text can quote the input, so none of it is used.
func (s *scanner) malformed(err error) *Fault {
	if fault := s.notUTF8(); fault != nil {
		return fault
	}
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return whole(Malformed, int64(len(s.doc.text)), "ends in the middle")
	}
	fault := whole(Malformed, syntax.ByteOffset, "is not valid JSON here")
	path, complete := s.knownPath(syntax.JSONPointer)
	fault.Path = path
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName) && complete:
		fault.Text = "occurs twice"
	case errors.Is(err, jsontext.ErrDuplicateName):
		fault.Text = "holds a member name twice"
	case errors.Is(err, io.ErrUnexpectedEOF):
		fault.Text = "ends in the middle"
	case strings.Count(string(syntax.JSONPointer), "/") >= maxDepth:
		fault.Text = "is nested too deeply"
	}
	return fault
}

// maxDepth is the decoder's bound on nesting.
const maxDepth = 10000

func (s *scanner) notUTF8() *Fault {
	if utf8.Valid(s.doc.text) {
		return nil
	}
	at := 0
	for rest := s.doc.text; len(rest) > 0; rest = s.doc.text[at:] {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return whole(Malformed, int64(at), "is not valid UTF-8 here")
}

// knownPath renders as much of a pointer as consists of names that the canonical
// event has. Other names come from the payload and are not repeated.
func (s *scanner) knownPath(pointer jsontext.Pointer) (path string, complete bool) {
	depth := 0
	for name := range pointer.Tokens() {
		if !s.known(depth, path, name) {
			return path, false
		}
		path = strings.TrimPrefix(path+"."+name, ".")
		depth++
	}
	return path, true
}

func (s *scanner) known(depth int, parent, name string) bool {
	switch depth {
	case 0:
		return isEnvelopeName(name)
	case 1:
		_, ok := s.names[name]
		return ok && (parent == "before" || parent == "after")
	}
	return false
}

func isEnvelopeName(name string) bool {
	switch name {
	case "eventId", "employeeId", "openUserId", "sequence", "occurredAt", "before", "after":
		return true
	}
	return false
}
