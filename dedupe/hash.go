package dedupe

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
)

// A hasher turns identities into what is stored of them: under the state key, an HMAC, so that a
// reader of Redis cannot test guesses. It is not safe for concurrent use.
//
// An identity is a hash already, so that it can be compared without the key. The HMAC of a hash is
// as good as that of the text.
type hasher struct {
	mac hash.Hash // nil: there is no key
	buf []byte
}

func (s *keyspace) hasher() *hasher {
	h := &hasher{}
	if len(s.opts.Key) > 0 {
		h.mac = hmac.New(sha256.New, s.opts.Key)
	}
	return h
}

// sum returns as many bytes as the id has, 16 at most.
func (h *hasher) sum(kind string, id []byte) []byte {
	h.buf = append(append(h.buf[:0], kind...), 0)
	h.buf = append(h.buf, id...)
	return h.hash(len(id))
}

// hash returns the first bytes of the hash of the buffer, which are valid until the next call.
func (h *hasher) hash(n int) []byte {
	if h.mac == nil {
		full := sha256.Sum256(h.buf)
		h.buf = append(h.buf[:0], full[:n]...)
		return h.buf
	}
	h.mac.Reset()
	h.mac.Write(h.buf)
	h.buf = h.mac.Sum(h.buf[:0])[:n]
	return h.buf
}

// member returns E: 128 bits as 22 characters.
func (h *hasher) member(m Member) string {
	if h.mac == nil {
		return base64.RawURLEncoding.EncodeToString(m.sum[:])
	}
	return base64.RawURLEncoding.EncodeToString(h.sum("member", m.sum[:]))
}

// event returns the name of the event's mark, and the hash of the event in it.
func (h *hasher) event(id EventID) (name, event string) {
	name = string(h.sum("event", id.sum[:])[:nameBytes])
	h.buf = append(append(append(h.buf[:0], "order\x00"...), id.sum[:]...), id.order[:]...)
	return name, string(h.hash(eventBytes))
}

// MemberHash returns E, the hash of the member in its keys.
func (s *keyspace) MemberHash(m Member) string { return s.hasher().member(m) }

// EventHash returns the name of the event's done mark among those of its member, and the hash of
// the event in it. Both are bytes and no text.
func (s *keyspace) EventHash(id EventID) (name, event string) { return s.hasher().event(id) }
