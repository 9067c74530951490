package event

import (
	"encoding/binary"
	"strings"
	"time"
	"unique"

	"membersync/mapper"
)

// A Packed is a [Record] in memory until its events are finished. The buffer holds tens of
// thousands of them, so it is small: what was read is one string, and only a dead letter needs it
// as it was. It is immutable.
type Packed struct {
	// Redrive is nil for a record of the source topic.
	Redrive *Redrive
	// Trace is set before the first of the events is placed; nil: tracing is off.
	Trace *Trace

	topic          unique.Handle[string]
	offset, millis int64
	// content is the key, the value, and for each header two texts as in appendText; the value of a
	// header is preceded by a byte that tells nil from empty.
	content           string
	keyLen, valueLen  int32 // of the content; -1: nil
	partition, edited int32
}

// Pack copies a record. Nothing of it is shared, except what it says of a redrive.
func Pack(rec *Record) *Packed {
	o := &rec.Origin
	p := &Packed{
		Redrive: rec.Redrive, topic: unique.Make(o.Topic), offset: o.Offset, millis: o.Time.UnixMilli(),
		keyLen: lengthOf(o.Key), valueLen: lengthOf(o.Value),
		partition: int32(o.Partition), edited: int32(o.Edited), //nolint:gosec // Kafka's own type; a small number
	}
	n := len(o.Key) + len(o.Value)
	for _, h := range o.Headers {
		n += len(h.Key) + len(h.Value) + 2*binary.MaxVarintLen32 + 1
	}
	var b strings.Builder
	b.Grow(n)
	b.Write(o.Key)
	b.Write(o.Value)
	var header []byte
	for _, h := range o.Headers {
		header = appendText(header[:0], h.Key)
		if h.Value == nil {
			header = append(header, 0)
		} else {
			header = appendText(append(header, 1), string(h.Value))
		}
		b.Write(header)
	}
	p.content = b.String()
	return p
}

func lengthOf(b []byte) int32 {
	if b == nil {
		return -1
	}
	return int32(len(b)) //nolint:gosec // Kafka's own type
}

// Origin returns a copy of the record that the events are of, see [Record].
func (p *Packed) Origin() mapper.Record {
	rec := p.place()
	rec.Topic = p.Topic()
	rest := p.content
	rec.Key, rest = bytesOf(rest, p.keyLen)
	rec.Value, rest = bytesOf(rest, p.valueLen)
	for rest != "" {
		var h mapper.Header
		h.Key, rest = cutText(rest)
		hasValue := rest[0] == 1
		if rest = rest[1:]; hasValue {
			var value string
			value, rest = cutText(rest)
			h.Value = []byte(value)
		}
		rec.Headers = append(rec.Headers, h)
	}
	return rec
}

func bytesOf(s string, n int32) (b []byte, rest string) {
	if n < 0 {
		return nil, s
	}
	return []byte(s[:n]), s[n:]
}

// place returns the coordinates of the record, without its topic.
func (p *Packed) place() mapper.Record {
	return mapper.Record{Partition: p.Partition(), Offset: p.offset, Time: time.UnixMilli(p.millis), Edited: int(p.edited)}
}

// Topic is that of the record that the events are of.
func (p *Packed) Topic() string { return p.topic.Value() }

// Partition is that of the record that the events are of.
func (p *Packed) Partition() int { return int(p.partition) }

// Offset is that of the record that the events are of.
func (p *Packed) Offset() int64 { return p.offset }

// OriginTime is the timestamp of the record that the events are of.
func (p *Packed) OriginTime() time.Time { return time.UnixMilli(p.millis) }

// RedriveNumber is how often the event was redriven, this delivery included; 0 for the original
// delivery and for an invalid redrive.
func (p *Packed) RedriveNumber() int { return p.Redrive.number() }

// Time is the timestamp of the delivered record: that of the redrive, if it is one.
func (p *Packed) Time() time.Time {
	if p.Redrive != nil {
		return p.Redrive.Time
	}
	return p.OriginTime()
}

// A packedEvent is a [mapper.Event] as one string: its index and count, its ids and the rule that
// ignores it, its order, and the fields that it states. The version is made of the order and of the
// record's coordinates, so mostly the order is enough.
type packedEvent string

// The forms of an order, in the first byte.
const (
	orderAndVersion = iota // two texts
	orderOfVersion         // epoch and order value, as varints: they and the coordinates are the version
)

func packEvent(p *Packed, e *mapper.Event) packedEvent {
	form := byte(orderAndVersion)
	epoch, value, ok := e.Version.Order()
	if ok && mapper.FormatOrder(value) == e.Order {
		if e.Version.Is(epoch, value, p.place(), e.Index) {
			form = orderOfVersion
		}
	}
	settings := e.Update.Pack()
	var space [512]byte
	b := append(space[:0], form)
	b = binary.AppendUvarint(b, uint64(e.Index)) //nolint:gosec // not negative
	b = binary.AppendUvarint(b, uint64(e.Count)) //nolint:gosec // not negative
	for _, text := range []string{e.ID, e.EmployeeID, e.OpenUserID, e.Ignored} {
		b = appendText(b, text)
	}
	if form == orderOfVersion {
		b = binary.AppendUvarint(b, uint64(epoch)) //nolint:gosec // not negative
		b = binary.AppendUvarint(b, value)
	} else {
		b = appendText(appendText(b, e.Order), string(e.Version))
	}
	return packedEvent(append(b, settings...))
}

// parts of a packed event. The texts are parts of the string.
type parts struct {
	index, count                        uint64
	id, employeeID, openUserID, ignored string
	isOrderOfVersion                    bool
	epoch, value                        uint64 // if it is
	order, version                      string // if it is not
	settings                            string
}

func (e packedEvent) parts() (p parts) {
	form, rest := e[0], string(e[1:])
	p.index, rest = cutNumber(rest)
	p.count, rest = cutNumber(rest)
	p.id, rest = cutText(rest)
	p.employeeID, rest = cutText(rest)
	p.openUserID, rest = cutText(rest)
	p.ignored, rest = cutText(rest)
	if p.isOrderOfVersion = form == orderOfVersion; p.isOrderOfVersion {
		p.epoch, rest = cutNumber(rest)
		p.value, p.settings = cutNumber(rest)
	} else {
		p.order, rest = cutText(rest)
		p.version, p.settings = cutText(rest)
	}
	return p
}

// versionIn returns the version of the event in the record.
func (p *parts) versionIn(rec *Packed) mapper.Version {
	if !p.isOrderOfVersion {
		return mapper.Version(p.version)
	}
	v, _ := mapper.NewVersion(int(p.epoch), p.value, rec.place(), int(p.index)) //nolint:gosec // as they were packed
	return v
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func cutText(s string) (text, rest string) {
	n, s := cutNumber(s)
	return s[:n], s[n:]
}

// cutNumber splits a varint off.
func cutNumber(s string) (n uint64, rest string) {
	for i, shift := 0, 0; ; i, shift = i+1, shift+7 {
		c := s[i]
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n, s[i+1:]
		}
	}
}
