package batch

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
)

// Limits bound what a [Reader] takes into memory.
type Limits struct {
	// RecordBytes bounds the bytes of a record: its key, its value, and the keys and values of its
	// headers.
	RecordBytes int64
	// Headers bounds the number of a record's headers.
	Headers int
	// InflaterBytes bounds what a codec may need, see [Header.InflaterBytes].
	InflaterBytes int64
}

// A Record is one record of a batch, or stands for one that was not read. Nil and empty keys and
// values stay different. The caller may keep all of it, unless it calls [Reader.Reuse]: nothing is
// shared with the batch.
type Record struct {
	Offset int64
	// Time is the producer's timestamp, or the broker's where the topic has LogAppendTime.
	Time       time.Time
	Key, Value []byte
	Headers    []kafka.Header
	// Rejection is not nil if there is no content: the record was not read.
	Rejection *Rejection
}

// A Rejection says why one record or several were not read.
type Rejection struct {
	// IsMalformed: the bytes cannot be decoded. Otherwise they are beyond the limits.
	IsMalformed bool
	// Text says what is wrong, without any content: "has 2000000 bytes; the bound is 1048576".
	Text string
	// Last is the last offset that this stands for. It lies above that of the record if a batch, or
	// the rest of it, was not inflated.
	Last int64
}

// A Reader yields the records of a batch. The zero value is ready for use, and can be used again
// after the end of a batch. It is not safe for concurrent use.
type Reader struct {
	h        Header
	from     int64
	limits   Limits
	in       *bufio.Reader
	inflater inflater

	index int    // of the next record
	next  int64  // the lowest offset that may follow
	skip  int64  // bytes of the latest record that were not read
	spare []byte // of a record of which nothing is kept
	last  []byte // of the latest record
	whole *Record

	// The next record, whose content was not read, if peeked.
	peeked bool
	rec    Record
	rest   int64 // bytes of its content
}

// streamBuffer is what is inflated at once.
const streamBuffer = 16 << 10

// Open begins with the records from the given offset on of a batch, which is the first in data and
// was verified. The caller keeps data until [Reader.Close].
func (r *Reader) Open(h Header, data []byte, from int64, limits Limits) {
	r.begin(h, from, limits)
	need, err := h.InflaterBytes(data)
	if err == nil && need > limits.InflaterBytes {
		r.reject(false, fmt.Sprintf("the batch cannot be inflated in parts: it needs %d bytes; the bound is %d",
			need, limits.InflaterBytes))
		return
	}
	var body io.Reader
	if err == nil {
		body, err = r.inflater.open(&h, data, limits.InflaterBytes)
	}
	if err != nil {
		r.reject(true, "the batch cannot be inflated: "+err.Error())
		return
	}
	if r.in == nil {
		r.in = bufio.NewReaderSize(nil, streamBuffer)
	}
	r.in.Reset(body)
}

// OpenRejected yields one record that stands for the rest of a batch, which is not read because of
// its size.
func (r *Reader) OpenRejected(h Header, from int64, text string) {
	r.begin(h, from, Limits{})
	r.reject(false, text)
}

func (r *Reader) begin(h Header, from int64, limits Limits) {
	*r = Reader{h: h, from: from, limits: limits, in: r.in, inflater: r.inflater, spare: r.spare}
}

// Close gives the memory of the codec back. The reader may be opened again.
func (r *Reader) Close() {
	r.inflater.close()
	*r = Reader{}
}

// reject yields one record for the rest of the batch.
func (r *Reader) reject(isMalformed bool, text string) {
	r.index = r.h.Count
	if first := max(r.h.BaseOffset, r.next, r.from); first <= r.h.LastOffset {
		r.whole = &Record{
			Offset: first, Time: time.UnixMilli(r.h.maxTime),
			Rejection: &Rejection{IsMalformed: isMalformed, Text: text, Last: r.h.LastOffset},
		}
	}
}

// Peek returns how many bytes the content of the next record takes; 0 if it is rejected, and at the
// end of the batch.
func (r *Reader) Peek() int64 {
	for !r.peeked && r.index < r.h.Count {
		rec, rest, err := r.place()
		if err != nil {
			r.reject(true, "the rest of the batch cannot be read: "+err.Error())
			break
		}
		r.rec, r.rest = rec, rest
		if r.peeked = rec.Offset >= r.from; !r.peeked {
			r.index, r.next, r.skip = r.index+1, rec.Offset+1, rest
		}
	}
	if !r.peeked || r.tooLong() {
		return 0
	}
	return r.rest
}

// tooLong reports whether the next record is beyond the limits, whatever its content.
func (r *Reader) tooLong() bool {
	return r.rest > r.limits.RecordBytes+int64(r.limits.Headers)*frameBytes
}

// Next returns the next record. Its only error is [io.EOF], at the end of the batch.
func (r *Reader) Next() (Record, error) {
	r.Peek()
	if r.peeked {
		rec, err := r.rec, error(nil)
		r.peeked = false
		if r.tooLong() {
			rec.Rejection, r.skip = r.tooLarge(rec.Offset, r.rest), r.rest
		} else {
			err = r.content(&rec)
		}
		if err == nil {
			r.index, r.next = r.index+1, rec.Offset+1
			return rec, nil
		}
		r.reject(true, "the rest of the batch cannot be read: "+err.Error())
	}
	if rec := r.whole; rec != nil {
		r.whole = nil
		return *rec, nil
	}
	return Record{}, io.EOF
}

var (
	errVarint = errors.New("a number that is too long")
	errLength = errors.New("a length that is beyond the record")
	errOffset = errors.New("offsets that do not rise within the batch")
	errTail   = errors.New("bytes after the last header")
)

// frameBytes is what the lengths of a header, and of key and value, take at most.
const frameBytes = 2 * binary.MaxVarintLen32

// place reads what precedes the content of a record, and returns how many bytes follow. An error
// means that the place of the next record is not known.
func (r *Reader) place() (rec Record, rest int64, err error) {
	if _, err := discard(r.in, r.skip); err != nil {
		return rec, 0, noEOF(err)
	}
	r.skip = 0
	length, _, err := r.varint()
	if err != nil {
		return rec, 0, err
	}
	if _, err := r.in.ReadByte(); err != nil { // attributes: none are defined
		return rec, 0, noEOF(err)
	}
	stamp, n, err := r.varint()
	if err != nil {
		return rec, 0, err
	}
	delta, m, err := r.varint()
	if err != nil {
		return rec, 0, err
	}
	if rest = length - 1 - n - m; rest < 0 {
		return rec, 0, errLength
	}
	offset := r.h.BaseOffset + delta
	if delta < 0 || offset > r.h.LastOffset || r.index > 0 && offset < r.next {
		return rec, 0, errOffset
	}
	ms := r.h.baseTime + stamp
	if r.h.attributes&logAppendTime != 0 {
		ms = r.h.maxTime
	}
	return Record{Offset: offset, Time: time.UnixMilli(ms)}, rest, nil
}

func (r *Reader) tooLarge(offset, size int64) *Rejection {
	return &Rejection{Last: offset, Text: fmt.Sprintf("has %d bytes; the bound is %d", size, r.limits.RecordBytes)}
}

// reuseBytes bounds the memory that a reader keeps for its next record.
const reuseBytes = 32 << 10

// Reuse lets the next record have the memory of the latest one: its caller keeps nothing of that
// but what it has copied.
func (r *Reader) Reuse() {
	if cap(r.last) <= reuseBytes && cap(r.last) > cap(r.spare) {
		r.spare = r.last
	}
	r.last = nil
}

// alloc returns n bytes, those of a record of which nothing is kept if they suffice.
func (r *Reader) alloc(n int64) []byte {
	if b := r.spare; int64(cap(b)) >= n {
		r.spare = nil
		return b[:n]
	}
	return make([]byte, n)
}

// content reads what the record holds. The place of the next record is known then, so a fault
// within the content is that of this record only.
func (r *Reader) content(rec *Record) error {
	body := r.alloc(r.rest)
	if _, err := io.ReadFull(r.in, body); err != nil {
		return noEOF(err)
	}
	p := parser{b: body}
	rec.Key, rec.Value = p.bytes(), p.bytes()
	size := int64(len(rec.Key) + len(rec.Value))
	count := p.varint()
	switch {
	case p.err != nil:
	case count < 0 || count > int64(len(p.b)):
		p.err = errLength
	case count > int64(r.limits.Headers):
		rec.Rejection = &Rejection{Last: rec.Offset, Text: fmt.Sprintf("has %d headers; the bound is %d", count, r.limits.Headers)}
	default:
		if count > 0 {
			rec.Headers = make([]kafka.Header, count)
		}
		for i := range rec.Headers {
			key, value := p.bytes(), p.bytes()
			rec.Headers[i] = kafka.Header{Key: string(key), Value: value}
			size += int64(len(key) + len(value))
		}
		switch {
		case p.err == nil && len(p.b) > 0:
			p.err = errTail
		case size > r.limits.RecordBytes:
			rec.Rejection = r.tooLarge(rec.Offset, size)
		}
	}
	if p.err != nil {
		rec.Rejection = &Rejection{IsMalformed: true, Last: rec.Offset, Text: "the record cannot be decoded: " + p.err.Error()}
	}
	if rec.Rejection != nil {
		rec.Key, rec.Value, rec.Headers, r.spare = nil, nil, nil, body
		return nil
	}
	r.last = body
	return nil
}

// A parser reads the content of a record, and keeps the first error.
type parser struct {
	b   []byte
	err error
}

func (p *parser) varint() int64 {
	v, n := binary.Varint(p.b)
	if n <= 0 {
		p.b, p.err = nil, errLength
		return 0
	}
	p.b = p.b[n:]
	return v
}

// bytes reads a length and as many bytes; a negative length means nil.
func (p *parser) bytes() []byte {
	n := p.varint()
	switch {
	case p.err != nil || n < 0:
		return nil
	case n > int64(len(p.b)):
		p.b, p.err = nil, errLength
		return nil
	}
	b := p.b[:n:n]
	p.b = p.b[n:]
	return b
}

// varint reads a number of the stream and returns also how many bytes it took.
func (r *Reader) varint() (v, size int64, err error) {
	var u uint64
	for shift := 0; shift < 64; shift += 7 {
		b, err := r.in.ReadByte()
		if err != nil {
			return 0, 0, noEOF(err)
		}
		size++
		u |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return int64(u>>1) ^ -int64(u&1), size, nil // zigzag
		}
	}
	return 0, 0, errVarint
}

func discard(in *bufio.Reader, n int64) (int64, error) {
	var done int64
	for done < n {
		m, err := in.Discard(int(min(n-done, 1<<30)))
		if done += int64(m); err != nil {
			return done, err
		}
	}
	return done, nil
}

// noEOF replaces the end of the data, which is not expected: the header counts more records.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A Marker is the end of a transaction.
type Marker struct{ IsAbort bool }

// ReadMarker reads the control batch that is the first in data and was verified. An unknown kind of
// control record is no abort.
func ReadMarker(h Header, data []byte) Marker {
	var r Reader
	r.Open(h, data, 0, Limits{RecordBytes: controlBytes, InflaterBytes: controlBytes})
	defer r.Close()
	rec, err := r.Next()
	if err != nil || rec.Rejection != nil || len(rec.Key) < 4 {
		return Marker{}
	}
	const abort = "\x00\x00" // the type, behind the version
	return Marker{IsAbort: string(rec.Key[2:4]) == abort}
}

const controlBytes = 64 << 10
