package partlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"membersync/dlq/partlog/batch"
)

// A request is a fetch of one partition that keeps the bytes of its response as they are: kafka-go
// would inflate all of them at once, without a bound. It is routed by kafka-go, and written in the
// version that kafka-go has negotiated.
type request struct {
	*fetch.Request
	clientID string
	room     int64 // for the bytes of the records; more of them are not kept
	buffers  *buffers
	version  int16
}

// A response is what a fetch has returned for its partition.
type response struct {
	code                    int16
	highWatermark, logStart int64
	aborted                 aborted
	// size is the number of bytes of the records, and data these bytes. If they were more than the
	// room, data is nil, and first describes the batch that they began with.
	size  int64
	data  []byte
	first batch.Header
}

// ApiKey implements [protocol.Message].
func (*response) ApiKey() protocol.ApiKey { //nolint:revive // kafka-go's name
	return protocol.Fetch
}

// Required implements [protocol.RawExchanger].
func (r *request) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = versions[protocol.Fetch]
	return true
}

// The versions whose fields are read here. Kafka 4 has dropped the versions below 4 (KIP-896), and
// kafka-go knows none above 11.
const (
	minVersion = 4
	maxVersion = 11
)

// correlation numbers the requests. Each connection carries one request at a time.
var correlation atomic.Int32 //nolint:gochecknoglobals // unique in the process

// RawExchange implements [protocol.RawExchanger]. An error closes the connection.
func (r *request) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if r.version < minVersion || r.version > maxVersion {
		return nil, fmt.Errorf("the broker's Fetch version is %d; supported are %d to %d", r.version, minVersion, maxVersion)
	}
	id := correlation.Add(1)
	if err := protocol.WriteRequest(rw, r.version, id, r.clientID, r.Request); err != nil {
		return nil, err
	}
	d := decoder{r: rw, left: 4}
	d.left = int64(d.int32())
	if got := d.int32(); d.err == nil && got != id {
		return nil, fmt.Errorf("the response has the correlation id %d, not %d", got, id)
	}
	res := r.decode(&d)
	d.discard(d.left)
	return res, d.err
}

var errShape = errors.New("the response is not that of one partition")

// decode reads the body of a response.
// https://kafka.apache.org/protocol#The_Messages_Fetch
func (r *request) decode(d *decoder) *response {
	res := &response{}
	d.int32() // throttle time: the broker has waited itself
	if r.version >= 7 {
		res.code = d.int16()
		d.int32() // session id
	}
	if topics := d.int32(); topics != 1 {
		if res.code == 0 {
			d.fail(errShape)
		}
		return res
	}
	d.discard(int64(d.int16())) // topic
	if d.int32() != 1 {
		d.fail(errShape)
	}
	d.int32() // partition
	if code := d.int16(); code != 0 {
		res.code = code
	}
	res.highWatermark = d.int64()
	d.int64() // last stable offset
	if r.version >= 5 {
		res.logStart = d.int64()
	}
	res.aborted = d.aborted()
	if r.version >= 11 {
		d.int32() // preferred read replica
	}
	res.size = max(int64(d.int32()), 0)
	switch {
	case d.err != nil:
	case res.size > d.left:
		d.fail(io.ErrUnexpectedEOF)
	case res.size <= r.room:
		res.data = r.buffers.get(res.size)
		d.read(res.data)
	default:
		head := make([]byte, min(res.size, batch.HeaderBytes))
		d.read(head)
		var err error
		if res.first, err = batch.Parse(head); err != nil {
			d.fail(err)
		}
	}
	return res
}

// aborted holds the first offsets of the aborted transactions that overlap a response, by producer
// id, in ascending order.
type aborted map[int64][]int64

func (d *decoder) aborted() aborted {
	n := int64(d.int32()) // -1: none
	const size = 16
	if n > d.left/size {
		d.fail(io.ErrUnexpectedEOF)
		return nil
	}
	a := aborted{}
	for range n {
		producer, first := d.int64(), d.int64()
		a[producer] = append(a[producer], first)
	}
	return a
}

// covers reports whether a batch belongs to an aborted transaction that has not ended yet.
func (a aborted) covers(h *batch.Header) bool {
	first := a[h.ProducerID]
	return h.IsTransactional() && len(first) > 0 && first[0] <= h.BaseOffset
}

// end ends the producer's transaction, as KIP-98 defines it: an abort marker closes the oldest
// aborted transaction, a commit marker closes none.
func (a aborted) end(h *batch.Header, m batch.Marker) {
	if first := a[h.ProducerID]; m.IsAbort && len(first) > 0 && first[0] <= h.BaseOffset {
		a[h.ProducerID] = first[1:]
	}
}

// A decoder reads a message of the protocol, and keeps the first error.
type decoder struct {
	r    io.Reader
	left int64 // of the message
	err  error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *decoder) read(p []byte) {
	if d.left -= int64(len(p)); d.left < 0 {
		d.fail(io.ErrUnexpectedEOF)
	}
	if d.err == nil {
		_, err := io.ReadFull(d.r, p)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		d.err = err
	}
	if d.err != nil {
		clear(p)
	}
}

func (d *decoder) int16() int16 {
	var b [2]byte
	d.read(b[:])
	return int16(binary.BigEndian.Uint16(b[:])) //nolint:gosec // the protocol's own type
}

func (d *decoder) int32() int32 {
	var b [4]byte
	d.read(b[:])
	return int32(binary.BigEndian.Uint32(b[:])) //nolint:gosec // the protocol's own type
}

func (d *decoder) int64() int64 {
	var b [8]byte
	d.read(b[:])
	return int64(binary.BigEndian.Uint64(b[:])) //nolint:gosec // the protocol's own type
}

func (d *decoder) discard(n int64) {
	if n < 0 || n > d.left {
		d.fail(io.ErrUnexpectedEOF)
	}
	if d.err == nil {
		_, d.err = io.CopyN(io.Discard, d.r, n)
		d.left -= n
	}
}
