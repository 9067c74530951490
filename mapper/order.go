package mapper

import (
	"strconv"
	"strings"
	"time"
)

// A Version orders all changes of one field: the newest wins. It consists of 64 digits
// at fixed widths and is compared as bytes: order epoch (6), order value (19), record
// timestamp in milliseconds (13, to the year 2286), partition (5), offset (14), index (3),
// and the number of the redrive that edited the value (4; 0: the original value).
//
// Redis stores a hash compactly only while none of its values is longer than 64 bytes
// (hash-max-listpack-value).
type Version string

// The widths of a version's parts.
const (
	epochDigits     = 6
	timeDigits      = 13
	partitionDigits = 5
	offsetDigits    = 14
	indexDigits     = 3
	editedDigits    = 4
	versionDigits   = epochDigits + maxOrderDigits + timeDigits + partitionDigits + offsetDigits + indexDigits + editedDigits
)

// MaxEdited is the highest number of a redrive that may edit a value.
const MaxEdited = 9999

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

// version puts the digits together. A negative number counts as 0: a record without a
// timestamp has one. A number that does not fit its width is a problem, since a version
// cut short would win or lose against the wrong ones.
func (o order) version(value string, rec Record, index int) (v Version, problem string) {
	var space [versionDigits]byte
	b, problem := o.appendVersion(space[:0], value, rec, index)
	return Version(b), problem
}

// appendVersion appends nothing if there is a problem.
func (o order) appendVersion(b []byte, value string, rec Record, index int) (to []byte, problem string) {
	const zeros = "0000000000000000000"
	to = b
	for _, p := range [...]struct {
		name  string
		n     int64
		width int
	}{
		{"order epoch", int64(o.epoch), epochDigits},
		{"order value", 0, maxOrderDigits},
		{"record timestamp", rec.Time.UnixMilli(), timeDigits},
		{"partition", int64(rec.Partition), partitionDigits},
		{"offset", rec.Offset, offsetDigits},
		{"index in the record", int64(index), indexDigits},
		{"number of the redrive", int64(rec.Edited), editedDigits},
	} {
		var digits [20]byte
		d := append(digits[:0], value...)
		if p.width != maxOrderDigits {
			d = strconv.AppendInt(digits[:0], max(p.n, 0), 10)
		}
		if len(d) > p.width {
			return b, "has no version: the " + p.name + " has more than " + strconv.Itoa(p.width) + " digits"
		}
		to = append(append(to, zeros[:p.width-len(d)]...), d...)
	}
	return to, ""
}

// NewVersion returns the version of the event with this index in a record, of which only the
// coordinates count. Not ok: a number does not fit its width.
func NewVersion(epoch int, value uint64, rec Record, index int) (v Version, ok bool) {
	v, problem := order{epoch: epoch}.version(FormatOrder(value), rec, index)
	return v, problem == ""
}

// Is reports whether this is the version that [NewVersion] makes.
func (v Version) Is(epoch int, value uint64, rec Record, index int) bool {
	var space [versionDigits]byte
	var digits [20]byte
	b, problem := order{epoch: epoch}.appendVersion(space[:0], string(strconv.AppendUint(digits[:0], value, 10)), rec, index)
	return problem == "" && string(b) == string(v)
}

// FormatOrder returns an order value as [Event] holds it.
func FormatOrder(value uint64) string { return strconv.FormatUint(value, 10) }

// Order returns the order epoch and the order value in a version. Not ok: it is not a version as
// this package makes them.
func (v Version) Order() (epoch int, value uint64, ok bool) {
	if len(v) != versionDigits {
		return 0, 0, false
	}
	epoch, err1 := strconv.Atoi(string(v[:epochDigits]))
	value, err2 := strconv.ParseUint(string(v[epochDigits:epochDigits+maxOrderDigits]), 10, 64)
	return epoch, value, err1 == nil && err2 == nil && epoch >= 0
}

// natural writes a number; a negative one counts as 0.
func natural(n int64) string { return strconv.FormatInt(max(n, 0), 10) }

// sequence reads an order value from 0 to 10^19-1, a number or a decimal text.
func sequence(l leaf) (digits, problem string) {
	switch {
	case l.isNumber():
		digits, problem = exactInteger(l.s, maxOrderDigits)
	case l.isText():
		digits, problem = decimalText(l.s)
	default:
		return "", "is " + l.what() + ", not an integer"
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

// tooFarAhead lets a record without a timestamp (zero, or Kafka's -1 ms) pass: there is nothing to
// compare with.
func tooFarAhead(t, recorded time.Time, maxAhead time.Duration) bool {
	return maxAhead > 0 && recorded.UnixMilli() >= 0 && t.Sub(recorded) > maxAhead
}
