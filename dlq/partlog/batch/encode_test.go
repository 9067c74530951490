package batch_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress/snappy"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The codecs, by name.
const (
	plain = iota
	gzipped
	snappyBlock
	lz4Frame
	zstdFrame
	xerial = 0x80 | snappyBlock // snappy in xerial's framing
)

func codecs() map[string]int {
	return map[string]int{
		"plain": plain, "gzip": gzipped, "snappy": snappyBlock, "xerial": xerial, "lz4": lz4Frame, "zstd": zstdFrame,
	}
}

// An encoded describes a batch to encode.
type encoded struct {
	base, last int64 // last 0: that of the last record
	codec      int
	attributes int16
	first, max time.Time
	producer   int64
	count      int // 0: the number of records
	records    []kafka.Message
}

// bytes encodes the batch as a broker stores it.
func (e encoded) bytes(tb testing.TB) []byte {
	tb.Helper()
	var body []byte
	for _, m := range e.records {
		body = appendRecord(body, m, m.Time.Sub(e.first).Milliseconds(), m.Offset-e.base)
		e.last = max(e.last, m.Offset)
	}
	if e.count == 0 {
		e.count = len(e.records)
	}
	return e.around(deflate(tb, e.codec, body))
}

// around puts a header in front of the body.
func (e encoded) around(body []byte) []byte {
	b := make([]byte, 61, 61+len(body))
	put := func(at, size int, v int64) { // the lowest bytes of v, big-endian
		for i := range size {
			b[at+i] = byte(v >> (8 * (size - 1 - i)) & 0xff)
		}
	}
	put(0, 8, e.base)
	put(8, 4, int64(49+len(body)))
	put(16, 1, 2)
	put(21, 2, int64(e.attributes)|int64(e.codec&7))
	put(23, 4, e.last-e.base)
	put(27, 8, e.first.UnixMilli())
	put(35, 8, e.max.UnixMilli())
	put(43, 8, e.producer)
	put(57, 4, int64(e.count))
	return seal(append(b, body...))
}

// seal sets the checksum.
func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func appendRecord(b []byte, m kafka.Message, stamp, offset int64) []byte {
	rec := []byte{0}
	rec = binary.AppendVarint(rec, stamp)
	rec = binary.AppendVarint(rec, offset)
	rec = appendBytes(appendBytes(rec, m.Key), m.Value)
	rec = binary.AppendVarint(rec, int64(len(m.Headers)))
	for _, h := range m.Headers {
		rec = appendBytes(appendBytes(rec, append([]byte{}, h.Key...)), h.Value)
	}
	return append(binary.AppendVarint(b, int64(len(rec))), rec...)
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(v))), v...)
}

// deflate compresses as franz-go does, except for xerial's framing.
func deflate(tb testing.TB, codec int, body []byte) []byte {
	tb.Helper()
	var use kgo.CompressionCodec
	switch codec {
	case plain:
		return body
	case gzipped:
		use = kgo.GzipCompression()
	case snappyBlock:
		use = kgo.SnappyCompression()
	case lz4Frame:
		use = kgo.Lz4Compression()
	case zstdFrame:
		use = kgo.ZstdCompression()
	case xerial:
		var out bytes.Buffer
		w := (&snappy.Codec{}).NewWriter(&out)
		if _, err := w.Write(body); err != nil {
			tb.Fatal(err)
		}
		if err := w.Close(); err != nil {
			tb.Fatal(err)
		}
		return out.Bytes()
	}
	c, err := kgo.DefaultCompressor(use)
	if err != nil {
		tb.Fatal(err)
	}
	out, _ := c.Compress(new(bytes.Buffer), body)
	return bytes.Clone(out)
}
