package mapper

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"membersync/crmapi"
)

// A span is where in the record's value one JSON value stands. The zero span is an absent member.
type span struct{ start, end int }

func (s span) absent() bool { return s.end == 0 }

// A state says where before or after and the member fields in it stand.
type state struct {
	span
	fields [crmapi.NumFields]span
}

// A document says where the parts of a canonical event stand in its text, which is
// known to be strict JSON by then. Nothing is interpreted yet.
type document struct {
	text                                                []byte
	eventID, employeeID, openUserID, sequence, happened span
	before, after                                       state
}

// raw returns the text of a value, nil for an absent one.
func (d *document) raw(s span) lexeme { return lexeme(d.text[s.start:s.end]) }

// A scanner reads one canonical event in one pass.
type scanner struct {
	decoder jsontext.Decoder
	source  bytes.Buffer
	unquote []byte
	names   map[string]crmapi.Field
	doc     document
}

// scan fills the document. The fault is always malformed: the record as a whole.
func (s *scanner) scan(text []byte, names map[string]crmapi.Field) *Fault {
	s.source = *bytes.NewBuffer(text) // the decoder reads a bytes.Buffer in place and never writes to it
	s.decoder.Reset(&s.source)
	s.names = names
	s.doc = document{text: text}
	if fault := s.begin(); fault != nil {
		return fault
	}
	if err := s.envelope(); err != nil {
		return s.malformed(err)
	}
	return s.end()
}

// release lets go of the record.
func (s *scanner) release() {
	s.source = bytes.Buffer{}
	s.decoder.Reset(&s.source)
	s.doc = document{}
}

func (s *scanner) begin() *Fault {
	token, err := s.decoder.ReadToken()
	if err != nil {
		return s.malformed(err)
	}
	if kind := token.Kind(); kind != jsontext.KindBeginObject {
		return whole(Malformed, 0, "is "+lexeme{byte(kind)}.kind()+", not an object")
	}
	return nil
}

func (s *scanner) end() *Fault {
	_, err := s.decoder.ReadToken()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if fault := s.notUTF8(); fault != nil {
		return fault
	}
	return whole(Malformed, s.decoder.InputOffset(), "goes on after the JSON object")
}

// envelope reads the members of the event up to its closing brace.
func (s *scanner) envelope() error {
	for s.decoder.PeekKind() != jsontext.KindEndObject {
		name, err := s.name()
		if err != nil {
			return err
		}
		if err := s.member(name); err != nil {
			return err
		}
	}
	_, err := s.decoder.ReadToken()
	return err
}

func (s *scanner) member(name []byte) error {
	d, unread := &s.doc, span{}
	switch string(name) {
	case "eventId":
		return s.value(&d.eventID)
	case "employeeId":
		return s.value(&d.employeeID)
	case "openUserId":
		return s.value(&d.openUserID)
	case "sequence":
		return s.value(&d.sequence)
	case "occurredAt":
		return s.value(&d.happened)
	case "before":
		return s.state(&d.before)
	case "after":
		return s.state(&d.after)
	}
	return s.value(&unread)
}

// state reads before or after. What is not an object is kept as it is, to be judged later.
func (s *scanner) state(to *state) error {
	if s.decoder.PeekKind() != jsontext.KindBeginObject {
		return s.value(&to.span)
	}
	if _, err := s.decoder.ReadToken(); err != nil {
		return err
	}
	start := int(s.decoder.InputOffset()) - 1
	for s.decoder.PeekKind() != jsontext.KindEndObject {
		name, err := s.name()
		if err != nil {
			return err
		}
		unread := span{}
		at := &unread
		if f, ok := s.names[string(name)]; ok {
			at = &to.fields[f]
		}
		if err := s.value(at); err != nil {
			return err
		}
	}
	_, err := s.decoder.ReadToken()
	to.span = span{start, int(s.decoder.InputOffset())}
	return err
}

// name reads a member's name; it is valid until the next call.
func (s *scanner) name() ([]byte, error) {
	raw, err := s.decoder.ReadValue()
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	s.unquote, err = jsontext.AppendUnquote(s.unquote[:0], raw)
	return s.unquote, err
}

// value reads any value, with all that is in it, and keeps where it stands.
func (s *scanner) value(to *span) error {
	raw, err := s.decoder.ReadValue()
	end := int(s.decoder.InputOffset())
	*to = span{end - len(raw), end}
	return err
}
