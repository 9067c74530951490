package dedupe

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// A digester computes HMAC(generation, member, field, value) repeatedly with one key. It is not
// safe for concurrent use.
type digester struct {
	mac        hash.Hash // nil: digests are off
	member     Member
	generation int64
	buf        []byte
}

func (s *MemberStore) digester(m Member, generation int64, on bool) *digester {
	d := &digester{member: m, generation: generation}
	if on && len(s.opts.Key) > 0 {
		d.mac = hmac.New(sha256.New, s.opts.Key)
	}
	return d
}

// sum returns 128 bits of the digest, or an empty string if digests are off.
func (d *digester) sum(f Field) string {
	if d.mac == nil {
		return ""
	}
	d.mac.Reset()
	d.buf = append(d.buf[:0], d.member.sum[:]...)
	d.buf = binary.BigEndian.AppendUint64(d.buf, uint64(d.generation)) //nolint:gosec // a count
	d.buf = binary.BigEndian.AppendUint64(d.buf, uint64(len(f.Name)))
	d.buf = append(d.buf, f.Name...)
	d.mac.Write(d.buf)
	d.mac.Write(f.Value)
	d.buf = d.mac.Sum(d.buf[:0])
	return string(d.buf[:16])
}
