package dedupe

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
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

// sum returns as many bits as the id has, 128 at most, as hexadecimal digits.
func (h *hasher) sum(kind string, id []byte) string {
	if h.mac == nil {
		return hex.EncodeToString(id)
	}
	h.mac.Reset()
	h.buf = append(append(h.buf[:0], kind...), 0)
	h.mac.Write(append(h.buf, id...))
	h.buf = h.mac.Sum(h.buf[:0])
	return hex.EncodeToString(h.buf[:len(id)])
}

func (h *hasher) order(id EventID) string { return h.sum("order", id.order[:]) }

// MemberHash returns E, the hash of the member in its keys.
func (s *keyspace) MemberHash(m Member) string { return s.hasher().sum("member", m.sum[:]) }

// EventHash returns the hash of the event's name in the key of its done mark, and that of its order
// value in the mark.
func (s *keyspace) EventHash(id EventID) (name, order string) {
	h := s.hasher()
	return h.sum("event", id.sum[:]), h.order(id)
}
