package chaos

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

// sessionToxic is the name of the toxic below.
const sessionToxic = "session"

// ShortenSessions makes the proxy, whose server must be a Kafka, reduce the session timeout that
// members of consumer groups ask for. The service has no setting for it, and with its own timeout
// the group would do nothing for most of a trial after each kill.
func (p *Proxy) ShortenSessions(d time.Duration) error {
	toxic := fmt.Sprintf(`{"type":%q,"stream":"upstream","attributes":{"millis":%d}}`, sessionToxic, d.Milliseconds())
	_, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
	return err
}

// A session is a toxic that rewrites JoinGroup requests.
type session struct {
	Millis uint32 `json:"millis"`
}

// NewState implements toxics.StatefulToxic. Each connection has its own frames.
func (s *session) NewState() any { return &shortener{} }

// Pipe implements toxics.Toxic.
func (s *session) Pipe(stub *toxics.ToxicStub) {
	state, ok := stub.State.(*shortener)
	if !ok {
		state = &shortener{}
	}
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil {
				stub.Close()
				return
			}
			if data := state.feed(chunk.Data, s.Millis); len(data) > 0 {
				stub.Output <- &stream.StreamChunk{Data: data, Timestamp: chunk.Timestamp}
			}
		}
	}
}

// A shortener forwards whole requests and changes those that join a group.
type shortener struct{ rest []byte }

const (
	sizeLength   = 4
	headerLength = 8 // of a request: api key, version, correlation id
	joinGroup    = 11
)

func (s *shortener) feed(data []byte, millis uint32) []byte {
	s.rest = append(s.rest, data...)
	end := 0
	for len(s.rest) >= end+sizeLength {
		size := int(binary.BigEndian.Uint32(s.rest[end:]))
		if len(s.rest) < end+sizeLength+size {
			break
		}
		shorten(s.rest[end+sizeLength:end+sizeLength+size], millis)
		end += sizeLength + size
	}
	whole := append([]byte(nil), s.rest[:end]...)
	s.rest = append(s.rest[:0], s.rest[end:]...)
	return whole
}

// shorten changes a request in place. After the header come the client's name and, in a JoinGroup
// request, the group's name and the session timeout in milliseconds (versions 0 to 5, which have
// fixed lengths).
func shorten(request []byte, millis uint32) {
	const flexible = 6
	if len(request) < headerLength || binary.BigEndian.Uint16(request) != joinGroup || binary.BigEndian.Uint16(request[2:]) >= flexible {
		return
	}
	rest := skipText(skipText(request[headerLength:]))
	if len(rest) >= sizeLength && binary.BigEndian.Uint32(rest) > millis {
		binary.BigEndian.PutUint32(rest, millis)
	}
}

// skipText skips a text and its length, which is -1 for a null text.
func skipText(b []byte) []byte {
	const length = 2
	if len(b) < length {
		return nil
	}
	n := max(int(int16(binary.BigEndian.Uint16(b))), 0) //nolint:gosec // the protocol's int16
	return b[min(length+n, len(b)):]
}
