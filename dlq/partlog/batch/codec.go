package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// The codecs, by their numbers in the attributes of a batch.
const (
	codecNone = iota
	codecGzip
	codecSnappy
	codecLZ4
	codecZstd
)

// What the decoders need, in bytes, beyond the windows and blocks that the data itself states.
const (
	gzipBytes = 64 << 10
	zstdBytes = 512 << 10
	lz4Bytes  = 128 << 10 // the window of dependent blocks
)

var errCodec = errors.New("unknown codec")

// InflaterBytes returns the memory in bytes that it takes to inflate the batch, which is the first
// in data, as a stream. A block of snappy cannot be inflated in parts: it takes its whole length,
// which is that of the batch where the producer used no xerial framing.
func (h *Header) InflaterBytes(data []byte) (int64, error) {
	body := data[HeaderBytes:h.Size]
	switch codec := h.attributes & codecMask; codec {
	case codecNone:
		return 0, nil
	case codecGzip:
		return gzipBytes, nil
	case codecSnappy:
		return snappyBytes(body)
	case codecLZ4:
		return lz4BlockBytes(body)
	case codecZstd:
		return zstdWindowBytes(body)
	default:
		return 0, fmt.Errorf("%w %d", errCodec, codec)
	}
}

// An inflater keeps the decoders from one batch to the next: those of small batches cost more than
// the batch.
type inflater struct {
	gzip   *gzip.Reader
	lz4    *lz4.Reader
	snappy snappyReader
	zstd   *zstd.Decoder
	window uint64 // the bound of zstd's decoder
}

// open returns the bytes of the records of a batch that InflaterBytes accepts.
func (f *inflater) open(h *Header, data []byte, limit int64) (io.Reader, error) {
	body := bytes.NewReader(data[HeaderBytes:h.Size])
	switch h.attributes & codecMask {
	case codecGzip:
		if f.gzip == nil {
			f.gzip = new(gzip.Reader)
		}
		return f.gzip, f.gzip.Reset(body)
	case codecSnappy:
		f.snappy.reset(data[HeaderBytes:h.Size])
		return &f.snappy, nil
	case codecLZ4:
		if f.lz4 == nil {
			f.lz4 = lz4.NewReader(nil)
		}
		f.lz4.Reset(body)
		return f.lz4, nil
	case codecZstd:
		return f.openZstd(body, max(uint64(limit), zstd.MinWindowSize)) //nolint:gosec // limits are not negative
	default:
		return body, nil
	}
}

func (f *inflater) openZstd(body io.Reader, window uint64) (io.Reader, error) {
	if f.zstd != nil && f.window == window {
		return f.zstd, f.zstd.Reset(body)
	}
	d, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(window))
	if err != nil {
		return nil, err
	}
	f.zstd, f.window = d, window
	return d, nil
}

// close gives the memory back.
func (f *inflater) close() {
	if f.zstd != nil {
		f.zstd.Close()
	}
	*f = inflater{}
}

func zstdWindowBytes(body []byte) (int64, error) {
	var h zstd.Header
	if err := h.Decode(body); err != nil {
		return 0, fmt.Errorf("zstd frame: %w", err)
	}
	n := h.WindowSize
	if h.SingleSegment {
		n = h.FrameContentSize
	}
	return int64(min(n, 1<<40)) + zstdBytes, nil
}

const lz4Magic = "\x04\x22\x4d\x18"

var (
	errLZ4    = errors.New("the data does not begin as an lz4 frame")
	errSnappy = errors.New("a block of snappy has an invalid length")
)

// lz4BlockBytes reads the size of the blocks from the frame's descriptor.
// https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
func lz4BlockBytes(body []byte) (int64, error) {
	if len(body) < 7 || string(body[:4]) != lz4Magic {
		return 0, errLZ4
	}
	const smallest = 4 // 64 KiB; each further one is four times the size
	size := int(body[5]>>4) & 7
	if size < smallest {
		return 0, errLZ4
	}
	return 2*(64<<10)<<(2*(size-smallest)) + lz4Bytes, nil
}

// Xerial's framing of snappy: a header of 16 bytes, then blocks, each behind its length in 4 bytes.
const xerialMagic = "\x82SNAPPY\x00"

const xerialHeaderBytes = 16

// firstBlock splits off the first block of a batch's body.
func firstBlock(body []byte) (block, rest []byte, err error) {
	if len(body) < 4 {
		return nil, nil, errSnappy
	}
	n, rest := binary.BigEndian.Uint32(body), body[4:]
	if uint64(n) > uint64(len(rest)) {
		return nil, nil, errSnappy
	}
	return rest[:n], rest[n:], nil
}

func isXerial(body []byte) bool {
	return len(body) >= xerialHeaderBytes && string(body[:len(xerialMagic)]) == xerialMagic
}

// snappyBytes returns the length of the longest block, inflated.
func snappyBytes(body []byte) (int64, error) {
	if !isXerial(body) {
		n, err := snappy.DecodedLen(body)
		return int64(n), err
	}
	longest := 0
	for rest := body[xerialHeaderBytes:]; len(rest) > 0; {
		var block []byte
		var err error
		if block, rest, err = firstBlock(rest); err != nil {
			return 0, err
		}
		n, err := snappy.DecodedLen(block)
		if err != nil {
			return 0, err
		}
		longest = max(longest, n)
	}
	return int64(longest), nil
}

// A snappyReader inflates one block at a time.
type snappyReader struct {
	framed  bool
	blocks  []byte // not inflated yet
	block   []byte // inflated; reused
	pending []byte // the part of block that was not read
}

func (r *snappyReader) reset(body []byte) {
	r.framed, r.blocks, r.pending = isXerial(body), body, nil
	if r.framed {
		r.blocks = body[xerialHeaderBytes:]
	}
}

func (r *snappyReader) Read(p []byte) (int, error) {
	for len(r.pending) == 0 {
		if len(r.blocks) == 0 {
			return 0, io.EOF
		}
		block, rest := r.blocks, []byte(nil)
		var err error
		if r.framed {
			if block, rest, err = firstBlock(r.blocks); err != nil {
				return 0, err
			}
		}
		if r.block, err = snappy.Decode(r.block[:cap(r.block)], block); err != nil {
			return 0, err
		}
		r.blocks, r.pending = rest, r.block
	}
	n := copy(p, r.pending)
	r.pending = r.pending[n:]
	return n, nil
}
