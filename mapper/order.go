package mapper

import (
	"strconv"
	"strings"
	"time"
)

// A Version orders all changes of one field: the newest wins. It consists of digits
// only, at fixed widths, and is compared as bytes: order epoch (6), order value (20),
// record timestamp in milliseconds (15), partition (10), offset (19), index (4).
type Version string

// An order says which value of an event orders it.
type order struct {
	kind  orderKind
	epoch int // raised when the kind or the source of the order changes; 0 for the built-in mappings
}

type orderKind uint8

const (
	bySequence orderKind = iota
	byTime
)

// maxOrderDigits is the length of the largest order value, 10^19-1.
const maxOrderDigits = 19

// version puts the digits together.
func (o order) version(value string, rec Record, index int) Version {
	b := make([]byte, 0, 6+20+15+10+19+4)
	b = appendPadded(b, strconv.Itoa(o.epoch), 6)
	b = appendPadded(b, value, 20)
	b = appendPadded(b, natural(rec.Time.UnixMilli()), 15)
	b = appendPadded(b, natural(int64(rec.Partition)), 10)
	b = appendPadded(b, natural(rec.Offset), 19)
	b = appendPadded(b, strconv.Itoa(index), 4)
	return Version(b)
}

// natural writes a number; a negative one counts as none. A record without a timestamp has one.
func natural(n int64) string { return strconv.FormatInt(max(n, 0), 10) }

// appendPadded appends digits at a fixed width. What does not fit becomes the largest
// value that does, so that the widths hold for any record.
func appendPadded(b []byte, digits string, width int) []byte {
	if len(digits) > width {
		digits = strings.Repeat("9", width)
	}
	for range width - len(digits) {
		b = append(b, '0')
	}
	return append(b, digits...)
}

// sequence reads an order value from 0 to 10^19-1, a number or a decimal text.
func sequence(l lexeme) (digits, problem string) {
	switch {
	case l.isNumber():
		digits, problem = exactInteger(string(l), maxOrderDigits)
	case l.isText():
		digits, problem = decimalText(l.text())
	default:
		return "", "is " + l.kind() + ", not an integer"
	}
	if strings.HasPrefix(digits, "-") {
		return "", "is negative"
	}
	return digits, problem
}

func decimalText(text string) (digits, problem string) {
	if !isDigits(text) {
		return "", notInteger
	}
	digits = strings.TrimLeft(text, "0")
	switch {
	case digits == "":
		return "0", ""
	case len(digits) > maxOrderDigits:
		return "", tooLarge
	}
	return digits, ""
}

// instant reads an order value from an RFC 3339 time: nanoseconds since 1970, so that
// no precision of the source is lost; 10^19 of them reach to the year 2286.
func instant(l lexeme, recorded time.Time, maxAhead time.Duration) (digits, problem string) {
	if !l.isText() {
		return "", "is " + l.kind() + ", not an RFC 3339 time"
	}
	t, ok := parseRFC3339(l.text())
	if !ok {
		return "", "is not an RFC 3339 time"
	}
	return instantDigits(t, recorded, maxAhead)
}

// instantDigits turns a time into an order value.
func instantDigits(t, recorded time.Time, maxAhead time.Duration) (digits, problem string) {
	switch {
	case t.Unix() < 0:
		return "", "is before 1970"
	case t.Unix() >= 1e10:
		return "", tooLarge
	case tooFarAhead(t, recorded, maxAhead):
		return "", "is too far ahead of the record's timestamp"
	}
	return strconv.FormatUint(uint64(t.Unix())*1e9+uint64(t.Nanosecond()), 10), "" //nolint:gosec // neither is negative
}

// tooFarAhead lets a record without a timestamp (zero, or Kafka's -1 ms) pass: there is nothing to compare with.
func tooFarAhead(t, recorded time.Time, maxAhead time.Duration) bool {
	return maxAhead > 0 && recorded.UnixMilli() >= 0 && t.Sub(recorded) > maxAhead
}
