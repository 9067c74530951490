package dedupe

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrFormat reports that what is stored has a format that this version of the program does not
// know: another version has written it. Nothing of it is used or changed.
var ErrFormat = errors.New("dedupe: the state in redis has the format of another version of membersync: run that version, or delete the keys and rebuild the state")

// stateFormat is the number of the format of all keys of a member. It is raised when one of them
// changes in a way that an older program would misread.
const stateFormat = "2"

// The widths in a mark, in bytes: see marks.lua, which writes it.
const (
	nameBytes  = 4  // of the hash of the event's name: the field of the hash
	eventBytes = 12 // of the hash of name and order value
	tokenBytes = 5  // of the hash of a token
)

// deadLettered is the outcome of a dead letter.
const deadLettered = "dead_lettered"

// outcomeCodes are the outcomes that have a code. Any other outcome, and that of a held event, is
// stored as text.
func outcomeCodes() [5]string {
	return [...]string{1: "applied", 2: "superseded", 3: "unchanged", 4: deadLettered}
}

// redriveFlag is added to the code if a redrive number follows.
const redriveFlag = 8

// maxRedrive is the largest redrive number that a mark can hold.
const maxRedrive = 1<<16 - 1

// maxDoneTTL keeps the hours of marks, modulo 65536, apart from those of a clock that went back.
const maxDoneTTL = 30_000 * time.Hour

// encodeOutcome returns the outcome as the scripts take and return it: its code and its text.
func encodeOutcome(outcome string) string {
	for code, text := range outcomeCodes() {
		if text == outcome && text != "" {
			return string(rune(code))
		}
	}
	return "\x00" + outcome
}

func decodeOutcome(encoded string) (outcome string, ok bool) {
	if encoded == "" {
		return "", false
	}
	code, text := int(encoded[0]), encoded[1:]
	switch {
	case code == 0:
		return text, text != ""
	case code < len(outcomeCodes()):
		return outcomeCodes()[code], text == ""
	}
	return "", false
}

// A mark entry is what a mark says of one event.
type markEntry struct {
	id       string // the hash of the event
	hour     int
	redrive  int
	outcome  string
	consumed int // bytes
}

// readEntry reads the first entry of a mark. It must agree with marks.lua.
func readEntry(mark string) (e markEntry, ok bool) {
	const head = eventBytes + 2 + tokenBytes + 1
	if len(mark) < head {
		return e, false
	}
	kind, rest := mark[head-1], mark[head:]
	e.id, e.hour = mark[:eventBytes], int(mark[eventBytes])<<8|int(mark[eventBytes+1])
	if kind >= 2*redriveFlag {
		return e, false
	}
	if kind&redriveFlag != 0 {
		if len(rest) < 2 {
			return e, false
		}
		e.redrive, rest = int(rest[0])<<8|int(rest[1]), rest[2:]
	}
	encoded := string(rune(kind &^ redriveFlag))
	if encoded == "\x00" {
		if rest == "" || len(rest) < 1+int(rest[0]) {
			return e, false
		}
		n := 1 + int(rest[0])
		encoded, rest = encoded+rest[1:n], rest[n:]
	}
	e.outcome, ok = decodeOutcome(encoded)
	e.consumed = len(mark) - len(rest)
	return e, ok
}

// hourOf is a time as marks have it.
func hourOf(t time.Time) int { return int(t.UnixMilli() / time.Hour.Milliseconds() % (1 << 16)) }

// hours is the done TTL in whole hours.
func (s *keyspace) hours() int64 { return int64(s.opts.DoneTTL / time.Hour) }

// hasExpired reports whether an entry is too old. It must agree with marks.lua.
func (s *keyspace) hasExpired(e markEntry, now int) bool {
	age := int64(uint16(now - e.hour)) //nolint:gosec // modulo 65536
	return age > s.hours()+1 && age < 1<<15
}

// readMark reads the mark of an event. It must agree with acquire.lua.
func (s *keyspace) readMark(mark, event string, now int) (g EventGrant, err error) {
	for mark != "" {
		e, ok := readEntry(mark)
		if !ok {
			return EventGrant{}, ErrFormat
		}
		mark = mark[e.consumed:]
		if s.hasExpired(e, now) {
			continue
		}
		if e.id != event {
			g.Reused = true
			continue
		}
		if g.Held = parseHeld(e.outcome); g.Held == nil {
			g.Done, g.Redrive, g.Outcome = true, e.redrive, e.outcome
		}
	}
	return g, nil
}

// Covers reports whether a delivery of the event with that redrive number is done. With reapply
// only the mark of a dead letter counts, as in [AcquireRequest.Reapply].
func (g EventGrant) Covers(redrive int, reapply bool) bool {
	return g.Done && g.Redrive >= redrive && (!reapply || g.Outcome == deadLettered)
}

// A MemberEvent names an event of a member.
type MemberEvent struct {
	Member Member
	ID     EventID
}

// markChunk is how many marks are read, removed or restored at once.
const markChunk = 500

// Done looks up the outcomes of events of one member. The result has the same order as ids. Done
// takes no lease and changes nothing.
func (s *MemberStore) Done(ctx context.Context, m Member, ids []EventID) ([]EventGrant, error) {
	events := make([]MemberEvent, len(ids))
	for i, id := range ids {
		events[i] = MemberEvent{m, id}
	}
	return s.DoneOf(ctx, events)
}

// DoneOf is [MemberStore.Done] for events of many members, in one round trip to each node. The
// result has the same order as the events.
func (s *MemberStore) DoneOf(ctx context.Context, events []MemberEvent) ([]EventGrant, error) {
	if len(events) == 0 {
		return []EventGrant{}, nil
	}
	pipe := s.client.Pipeline()
	clock := pipe.Time(ctx)
	h := s.hasher()
	// Events of one member share a command.
	type read struct {
		names []string
		cmd   *redis.SliceCmd
	}
	reads := make(map[Member]*read, len(events))
	hashes := make([]string, len(events))
	at := make([]int, len(events)) // index in the command of the member
	for i, e := range events {
		var name string
		name, hashes[i] = h.event(e.ID)
		r := reads[e.Member]
		if r == nil {
			r = &read{}
			reads[e.Member] = r
		}
		at[i] = len(r.names)
		r.names = append(r.names, name)
	}
	for m, r := range reads {
		r.cmd = pipe.HMGet(ctx, s.doneKey(h, m), r.names...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, failed("done", err)
	}
	now := hourOf(clock.Val())
	grants := make([]EventGrant, len(events))
	for i, e := range events {
		text, _ := reads[e.Member].cmd.Val()[at[i]].(string)
		g, err := s.readMark(text, hashes[i], now)
		if err != nil {
			return nil, failed("done", err)
		}
		grants[i] = g
	}
	return grants, nil
}

// short is the part of a token's hash that a mark holds.
func (t Token) short() string {
	full := sumOf("token", string(t))
	return string(full[:tokenBytes])
}

// packVersion is a version as it is stored: two digits in each byte.
func packVersion(digits string) string {
	b, _ := hex.DecodeString(digits) // versions are digits, see isVersion
	return string(b)
}

func unpackVersion(stored string) string { return hex.EncodeToString([]byte(stored)) }

// isReused reports, for each event, whether an earlier one of the request has the same name and
// another order value.
func isReused(events []Event) func(i int) bool {
	if len(events) < 2 {
		return func(int) bool { return false }
	}
	type seen struct {
		order orderHash
		more  bool // than one order value
	}
	names := make(map[sum]seen, len(events))
	reused := make([]bool, len(events))
	for i, e := range events {
		s, ok := names[e.ID.sum]
		if !ok {
			names[e.ID.sum] = seen{order: e.ID.order}
			continue
		}
		reused[i] = s.more || s.order != e.ID.order
		s.more = reused[i]
		names[e.ID.sum] = s
	}
	return func(i int) bool { return reused[i] }
}

// isFormatError recognizes the refusal of a script.
func isFormatError(err error) bool {
	return redis.HasErrorPrefix(err, "MSFORMAT")
}
