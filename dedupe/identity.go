package dedupe

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
)

// A sum is the first half of a SHA-256. With 128 bits, two different identities never collide in
// practice.
type sum [16]byte

func (s sum) String() string { return hex.EncodeToString(s[:]) }

// sumOf hashes a kind and its parts. Each part is preceded by its length, so that ("ab", "c") and
// ("a", "bc") differ.
func sumOf(parts ...string) sum {
	buf := make([]byte, 0, 256) // usually enough, and on the stack
	for _, p := range parts {
		buf = binary.BigEndian.AppendUint64(buf, uint64(len(p)))
		buf = append(buf, p...)
	}
	full := sha256.Sum256(buf)
	return sum(full[:len(sum{})])
}

// A Member identifies one record of one CRM. It is comparable. It is a hash and contains nothing
// about the person.
type Member struct{ sum sum }

// NewMember returns the identity of a member from the CRM's base URL, the company and the member's
// openUserId. A slash at the end of the base URL makes no difference.
func NewMember(baseURL, corpID, openUserID string) Member {
	return Member{sumOf("member", strings.TrimRight(baseURL, "/"), corpID, openUserID)}
}

// String returns the hash as hexadecimal digits. It can be used as the key of a lane.
func (m Member) String() string { return m.sum.String() }

// An EventID identifies an event. It is comparable. It is a hash in two parts. The first part is
// the name that the event's source gave it; the done mark is stored under that name. The second
// part is the order value, which distinguishes a reuse of the name from a repeated delivery.
type EventID struct {
	sum   sum
	order orderHash
}

// An orderHash is the first 96 bits of the hash of an order value; zero without one.
type orderHash [12]byte

// NewEventID returns the identity of an event from its topic, the id that its source gave it, its
// index in its record, and its order value. The same id with another order value is another event:
// see [EventGrant].
func NewEventID(topic, id string, index int, order string) EventID {
	e := EventID{sum: sumOf("event", topic, id, strconv.Itoa(index))}
	o := sumOf("order", order)
	copy(e.order[:], o[:])
	return e
}

// NewRecordID returns the identity of an event whose source gives no ids, from the coordinates of
// its record. The timestamp distinguishes the records of a topic from those of a recreated topic of
// the same name.
func NewRecordID(topic string, partition int, offset, timestampMillis int64, index int) EventID {
	return EventID{sum: sumOf("record", topic, strconv.Itoa(partition), strconv.FormatInt(offset, 10),
		strconv.FormatInt(timestampMillis, 10), strconv.Itoa(index))}
}

// String returns both parts as hexadecimal digits: 32 for the name, and 24 for the order value.
func (e EventID) String() string { return e.sum.String() + e.orderText() }

func (e EventID) orderText() string { return hex.EncodeToString(e.order[:]) }

// A Token proves the ownership of a lease. It is used for one sequence of Acquire, Renew and then
// Complete or Release. The next sequence needs a new token.
type Token string

// NewToken returns a random token.
func NewToken() Token { return Token(rand.Text()) }

// valid reports whether the token can be part of a done mark.
func (t Token) valid() bool { return t != "" && len(t) <= 64 && !strings.ContainsAny(string(t), ":;") }
