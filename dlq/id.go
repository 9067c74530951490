package dlq

import (
	"fmt"
	"strconv"
	"strings"
)

const redrivePrefix = "redrive:"

// wholeRecord stands for the index of an event if the record failed whole.
const wholeRecord = -1

// An ID identifies an item by the source record in which its event failed first. Its text is
// partition:offset:index@timestamp, such as 3:1042:0@1795334400123. The timestamp is the record's,
// in ms since 1970: a topic that is deleted and created again has the same coordinates again.
// There is no :index if the record failed whole. An invalid redrive has redrive: in front, and its
// place in the redrive topic.
//
// The short form is without the timestamp, and can stand for several items. IDs can be compared
// with ==; a short form is equal to short forms only.
type ID struct {
	offset    int64
	timestamp int64
	partition int32
	index     int32
	redrive   bool // the place is in the redrive topic
	short     bool // without the timestamp, which is 0
}

// itemID returns the id of the item that this dead letter belongs to.
func (d DeadLetter) itemID() ID {
	return idOf(d.Source, d.Index, d.Whole, d.Reason == ReasonInvalidRedrive)
}

func idOf(s Source, index int, whole, redrive bool) ID {
	if whole {
		index = wholeRecord
	}
	return ID{
		offset: s.Offset, timestamp: s.Timestamp.UnixMilli(),
		partition: int32(s.Partition), index: int32(index), redrive: redrive, //nolint:gosec // from broker and mapper
	}
}

// String formats the id.
func (id ID) String() string {
	b := make([]byte, 0, 64)
	if id.redrive {
		b = append(b, redrivePrefix...)
	}
	b = strconv.AppendInt(b, int64(id.partition), 10)
	b = strconv.AppendInt(append(b, ':'), id.offset, 10)
	if id.index != wholeRecord {
		b = strconv.AppendInt(append(b, ':'), int64(id.index), 10)
	}
	if !id.short {
		b = strconv.AppendInt(append(b, '@'), id.timestamp, 10)
	}
	return string(b)
}

// Short returns the short form.
func (id ID) Short() ID {
	id.timestamp, id.short = 0, true
	return id
}

// ParseID parses an id or its short form. It accepts exactly what [ID.String] returns. The error is
// an [*IDError].
func ParseID(text string) (ID, error) {
	p := idParser{text: text}
	rest, redrive := strings.CutPrefix(text, redrivePrefix)
	place, timestamp, full := strings.Cut(rest, "@")
	parts := strings.Split(place, ":")
	if len(parts) < 2 || len(parts) > 3 {
		p.fail("it does not have two or three parts separated by colons")
		return ID{}, p.err
	}
	id := ID{redrive: redrive, short: !full, index: wholeRecord}
	id.partition = int32(p.number("partition", parts[0], 32)) //nolint:gosec // it is parsed in 32 bits
	id.offset = p.number("offset", parts[1], 64)
	if len(parts) == 3 {
		id.index = int32(p.number("index", parts[2], 32)) //nolint:gosec // it is parsed in 32 bits
	}
	if full {
		id.timestamp = p.integer("timestamp", timestamp, 64)
	}
	if p.err != nil {
		return ID{}, p.err
	}
	return id, nil
}

// An idParser parses the parts of an id and keeps the first error.
type idParser struct {
	text string
	err  error
}

func (p *idParser) fail(problem string) {
	if p.err == nil {
		p.err = &IDError{Text: p.text, Problem: problem}
	}
}

// number parses a decimal number from 0, as it is formatted: without a sign and leading zeros.
func (p *idParser) number(part, text string, bits int) int64 {
	n := p.integer(part, text, bits)
	if n < 0 {
		p.fail("its " + part + " is negative")
	}
	return n
}

func (p *idParser) integer(part, text string, bits int) int64 {
	n, err := strconv.ParseInt(text, 10, bits)
	switch {
	case text == "":
		p.fail("its " + part + " is missing")
	case err != nil, strconv.FormatInt(n, 10) != text:
		p.fail("its " + part + " is not a decimal number, or too large")
	}
	return n
}

// An IDError reports why a text is not an id.
type IDError struct {
	Text    string
	Problem string
}

// maxShown limits how many bytes of a text an error shows.
const maxShown = 64

// Error names the text, what is wrong with it, and the form of an id.
func (e *IDError) Error() string {
	return fmt.Sprintf("invalid id %q: %s; want partition:offset:index@timestamp such as 3:1042:0@1795334400123, "+
		"or its short form 3:1042:0", clip(e.Text, maxShown), e.Problem)
}

// An AmbiguousIDError reports that several items have the short form of an id.
type AmbiguousIDError struct {
	Short string
	IDs   []string // of these items, from the oldest source record to the newest
}

// Error lists the ids.
func (e *AmbiguousIDError) Error() string {
	return "id " + e.Short + " is ambiguous, give one of " + strings.Join(e.IDs, ", ")
}
