package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// HeaderBytes is the length of a batch's header.
const HeaderBytes = 61

// The layout of a header, as the class DefaultRecordBatch of Kafka defines it.
const (
	atLength      = 8  // of all that follows it
	atMagic       = 16 // the format
	atCRC         = 17 // CRC-32C of all that follows it
	atAttributes  = 21
	atLastDelta   = 23
	atBaseTime    = 27
	atMaxTime     = 35
	atProducer    = 43
	atCount       = 57
	lengthCovered = atLength + 4 // what the length does not count

	format = 2
)

// The attributes of a batch.
const (
	codecMask     = 7
	logAppendTime = 1 << 3
	transactional = 1 << 4
	control       = 1 << 5
)

// A Header describes a batch.
type Header struct {
	// BaseOffset is the offset that the batch began with, and LastOffset the one that it ended with.
	// Compaction may have removed the records of both.
	BaseOffset, LastOffset int64
	// Size is the length of the batch in the log, in bytes, header included.
	Size int
	// Count is the number of records in the batch.
	Count      int
	ProducerID int64

	attributes        int16
	crc               uint32
	baseTime, maxTime int64 // in ms since 1970
}

// IsTransactional reports whether the batch belongs to a transaction.
func (h *Header) IsTransactional() bool { return h.attributes&transactional != 0 }

// IsControl reports whether the batch holds a transaction marker instead of records.
func (h *Header) IsControl() bool { return h.attributes&control != 0 }

// ErrIncomplete says that the data ends within the first batch. Brokers cut responses that way.
var ErrIncomplete = errors.New("the data ends within a batch")

// A CorruptError says that a batch was changed on its way or on a disk, or has another format.
type CorruptError struct {
	Offset int64 // that the batch begins with
	What   string
}

// Error names the offset and what is wrong.
func (e *CorruptError) Error() string { return fmt.Sprintf("batch at offset %d: %s", e.Offset, e.What) }

// Parse reads the header of the first batch in data. Its errors are [ErrIncomplete], only if the
// header itself is not there, and a [*CorruptError].
func Parse(data []byte) (Header, error) {
	if len(data) <= atMagic {
		return Header{}, ErrIncomplete
	}
	base := int64At(data, 0)
	corrupt := func(what string, args ...any) (Header, error) {
		return Header{}, &CorruptError{base, fmt.Sprintf(what, args...)}
	}
	if magic := data[atMagic]; magic != format {
		return corrupt("record format %d; only format 2 is supported, which is all that Kafka 4 stores", magic)
	}
	if len(data) < HeaderBytes {
		return Header{}, ErrIncomplete
	}
	h := Header{
		BaseOffset: base,
		LastOffset: base + int64(int32At(data, atLastDelta)),
		Size:       lengthCovered + int(int32At(data, atLength)),
		Count:      int(int32At(data, atCount)),
		ProducerID: int64At(data, atProducer),
		attributes: int16(binary.BigEndian.Uint16(data[atAttributes:])), //nolint:gosec // the protocol's own type
		crc:        binary.BigEndian.Uint32(data[atCRC:]),
		baseTime:   int64At(data, atBaseTime),
		maxTime:    int64At(data, atMaxTime),
	}
	switch {
	case h.Size < HeaderBytes:
		return corrupt("a length of %d bytes, less than a header", h.Size)
	case h.BaseOffset < 0 || h.LastOffset < h.BaseOffset:
		return corrupt("the last offset %d lies below the first", h.LastOffset)
	case h.Count < 0:
		return corrupt("a count of %d records", h.Count)
	}
	return h, nil
}

// Verify compares the batch, which is the first in data, with its checksum. Its errors are
// [ErrIncomplete] and a [*CorruptError].
func (h *Header) Verify(data []byte) error {
	if len(data) < h.Size {
		return ErrIncomplete
	}
	if got := crc32.Checksum(data[atAttributes:h.Size], crc32.MakeTable(crc32.Castagnoli)); got != h.crc {
		return &CorruptError{h.BaseOffset, fmt.Sprintf("the checksum is %08x, not %08x as the header says", got, h.crc)}
	}
	return nil
}

func int32At(b []byte, at int) int32 {
	return int32(binary.BigEndian.Uint32(b[at:])) //nolint:gosec // the protocol's own type
}

func int64At(b []byte, at int) int64 {
	return int64(binary.BigEndian.Uint64(b[at:])) //nolint:gosec // the protocol's own type
}
