package dedupe

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
)

// A sum is the first half of a SHA-256: at 128 bits two different identities never meet.
type sum [16]byte

func (s sum) String() string { return hex.EncodeToString(s[:]) }

// sumOf sums up a kind and its parts. Each part is preceded by its length, so that
// ("ab", "c") and ("a", "bc") differ.
func sumOf(parts ...string) sum {
	buf := make([]byte, 0, 256) // mostly enough, and on the stack
	for _, p := range parts {
		buf = binary.BigEndian.AppendUint64(buf, uint64(len(p)))
		buf = append(buf, p...)
	}
	full := sha256.Sum256(buf)
	return sum(full[:len(sum{})])
}

// A Member identifies one record of one CRM. It is comparable, and a hash: it says
// nothing about the person.
type Member struct{ sum sum }

// NewMember identifies a member by the CRM's base URL, the company and the member's
// openUserId. A slash at the end of the base URL makes no difference.
func NewMember(baseURL, corpID, openUserID string) Member {
	return Member{sumOf("member", strings.TrimRight(baseURL, "/"), corpID, openUserID)}
}

// String returns the hash in hexadecimal digits, for use as the key of a lane.
func (m Member) String() string { return m.sum.String() }

// An EventID identifies an event. It is comparable, and a hash in two parts: what the
// event's source calls it, under which its done mark is kept, and its order value, which
// tells a reuse of that name from a repeated delivery.
type EventID struct {
	sum   sum
	order [8]byte // zero where there is no such value
}

// NewEventID identifies an event by its topic, the id that its source gave it, its
// index in its record, and its order value. The same id with another order value is
// another event: see [EventGrant].
func NewEventID(topic, id string, index int, order string) EventID {
	e := EventID{sum: sumOf("event", topic, id, strconv.Itoa(index))}
	o := sumOf("order", order)
	copy(e.order[:], o[:])
	return e
}

// NewRecordID identifies an event whose source gives no ids by the place of its record.
// The timestamp tells the records of a topic from those of its namesake that was
// created anew.
func NewRecordID(topic string, partition int, offset, timestampMillis int64, index int) EventID {
	return EventID{sum: sumOf("record", topic, strconv.Itoa(partition), strconv.FormatInt(offset, 10),
		strconv.FormatInt(timestampMillis, 10), strconv.Itoa(index))}
}

// String returns both parts in hexadecimal digits: 32 of the name, and 16 of the order value.
func (e EventID) String() string { return e.sum.String() + e.orderText() }

func (e EventID) orderText() string { return hex.EncodeToString(e.order[:]) }

// A Token is what its holder proves a lease with. It is used for one way through
// Acquire, Renew and then Complete or Release; the next one takes a new token.
type Token string

// NewToken returns a random token.
func NewToken() Token { return Token(rand.Text()) }

// valid reports whether the token can stand in a done mark.
func (t Token) valid() bool { return t != "" && len(t) <= 64 && !strings.ContainsAny(string(t), ":;") }
