package dedupe

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Grant is the reply to an AcquireRequest.
type Grant struct {
	// Leased reports that another token owns the lease. Only Wait is valid then.
	Leased bool
	// Pending reports that a newer value of one of the fields was handed out and that its outcome
	// is unknown: the CRM may hold it already, and an older value sent now could take the field
	// back in time. The lease is not taken, and only Wait is valid. A request that contains the
	// event of that newer value is granted, and so is one with only newer events.
	Pending bool
	// Wait is the remaining time of the other token's lease, unless that is released earlier. With
	// Pending it is how long the older value waits if the newer value's outcome stays unknown.
	Wait time.Duration
	// Expires is the earliest time at which the granted lease can expire, on this process's clock.
	// It counts from before the request. A call must be over by then.
	Expires time.Time
	// Events has an entry for each requested event, in the same order.
	Events []EventGrant
	// Fields has an entry for each field that a live event states.
	Fields []FieldGrant
	// Stale has an entry for each requested event: whether the event is live and all its fields are
	// older than what was applied. An event without fields is not stale.
	Stale []bool
}

// A EventGrant reports whether an event is live, or already done under the same or a higher redrive
// number.
type EventGrant struct {
	Done    bool
	Outcome string // from the done mark
	Redrive int    // from the done mark
	// Held is not nil if the event is marked as held, and the request does not try it: it is neither
	// done nor live.
	Held *Held
	// Reused reports that the source gave the event's id to another event too: an event with
	// another order value is marked done, or comes earlier in the same request. Each of them is an
	// event of its own, so this affects no decision. It is reported on every request for the event.
	Reused bool
}

// A FieldGrant holds the decision about one field.
type FieldGrant struct {
	Name     string
	Winner   int // index of the live event with the newest version; of equal versions, the last
	Decision FieldDecision
}

// A FieldDecision is the decision about a field.
type FieldDecision uint8

// The decisions about a field.
const (
	// Send means that the winner's value must be sent. An equal version may be sent again.
	Send FieldDecision = iota
	// Superseded means that a newer event's value was applied.
	Superseded
	// Unchanged means that the CRM already holds this exact value.
	Unchanged
)

// String returns the name of the decision.
func (d FieldDecision) String() string {
	switch d {
	case Send:
		return "send"
	case Superseded:
		return "superseded"
	case Unchanged:
		return "unchanged"
	}
	return "unknown"
}

// pendingTTL is how long an older value waits for a newer one whose outcome stays unknown. An event
// is redelivered until its outcome is known. So this only ends the wait for an event that was
// removed from the topic in the meantime.
const pendingTTL = 6 * time.Hour

// errReply reports a script reply that no version of the script sends.
var errReply = errors.New("unexpected reply from the script")

// Acquire takes the lease of a member and returns which values of the events must still be sent. A
// repetition under the same token, after a lost reply, returns the same grant and renews the lease.
func (s *MemberStore) Acquire(ctx context.Context, req AcquireRequest) (Grant, error) {
	if err := req.check(); err != nil {
		return Grant{}, err
	}
	names := fieldNames(req.Events)
	began, h := time.Now(), s.hasher()
	reply, err := s.batch.run(ctx, s.scripts.acquire, s.keys(h, req.Member), s.acquireArgs(h, req, names)...).Slice()
	if err != nil {
		return Grant{}, failed("acquire", err)
	}
	r := replyReader{rest: reply}
	switch r.int() {
	case 0:
		return Grant{Leased: true, Wait: s.wait(r.int())}, r.failed("acquire")
	case 1:
		return readGrant(&r, req.Events, names, began.Add(s.opts.Lease))
	case 2:
		return Grant{}, failed("acquire", ErrTokenUsed)
	case 3:
		return Grant{Pending: true, Wait: s.wait(r.int())}, r.failed("acquire")
	}
	return Grant{}, failed("acquire", errReply)
}

// wait converts the PTTL of a lease to the time to wait. A negative PTTL means a lease without an
// expiry, which this package never writes; the wait is then one full lease.
func (s *MemberStore) wait(millis int) time.Duration {
	if millis < 0 {
		return s.opts.Lease
	}
	return time.Duration(max(millis, 1)) * time.Millisecond
}

// fieldNames lists the distinct field names of the events. They are few, so a slice is searched
// faster than a map.
func fieldNames(events []Event) []string {
	var names []string
	for _, e := range events {
		for _, f := range e.Fields {
			if !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	return names
}

// acquireArgs builds the ARGV of acquire.lua.
func (s *MemberStore) acquireArgs(h *hasher, req AcquireRequest, names []string) []any {
	first := 9 + len(names)
	n := first + len(req.Events)
	for _, e := range req.Events {
		n += 6 + 2*len(e.Fields)
	}
	args := make([]any, first+len(req.Events), n)
	copy(args, []any{
		string(req.Token), req.Token.short(), s.opts.Lease.Milliseconds(), req.Reapply, s.hours(), s.opts.DigestTTL.Milliseconds(),
		pendingTTL.Milliseconds(), len(req.Events), len(names),
	})
	for i, name := range names {
		args[9+i] = name
	}
	d := s.digester(req.Member, req.DigestGeneration, !req.Reapply && !req.DistrustDigests)
	for i, e := range req.Events {
		var event string
		args[first+i], event = h.event(e.ID)
		args = append(args, event, e.Redrive, e.TryHeld, e.Version, packVersion(e.Version), len(e.Fields))
		for _, f := range e.Fields {
			args = append(args, slices.Index(names, f.Name)+1, d.sum(f))
		}
	}
	return args
}

func readGrant(r *replyReader, events []Event, names []string, expires time.Time) (Grant, error) {
	g := Grant{Expires: expires, Events: make([]EventGrant, len(events))}
	reused := isReused(events)
	for i := range events {
		g.Events[i] = r.eventGrant()
		g.Events[i].Reused = g.Events[i].Reused || reused(i)
	}
	stored := make([]string, len(names))
	for i, name := range names {
		winner, decision := r.int(), r.fieldDecision()
		stored[i] = r.string()
		if winner > 0 {
			g.Fields = append(g.Fields, FieldGrant{Name: name, Winner: winner - 1, Decision: decision})
		}
	}
	if err := r.failed("acquire"); err != nil {
		return Grant{}, err
	}
	g.Stale = make([]bool, len(events))
	for i, e := range events {
		own := packVersion(e.Version)
		g.Stale[i] = !g.Events[i].Done && g.Events[i].Held == nil && len(e.Fields) > 0 &&
			!slices.ContainsFunc(e.Fields, func(f Field) bool { return stored[slices.Index(names, f.Name)] <= own })
	}
	return g, nil
}

// A replyReader reads the flat reply of a script value by value. It remembers whether a value was
// missing or of the wrong type.
type replyReader struct {
	rest []any
	bad  bool
}

func (r *replyReader) next() any {
	if len(r.rest) == 0 {
		r.bad = true
		return nil
	}
	v := r.rest[0]
	r.rest = r.rest[1:]
	return v
}

func (r *replyReader) int() int {
	n, ok := r.next().(int64)
	r.bad = r.bad || !ok
	return int(n)
}

func (r *replyReader) string() string {
	s, ok := r.next().(string)
	r.bad = r.bad || !ok
	return s
}

// eventGrant reads redrive:outcome, or the empty text of a live event. A plus sign in front means
// that the id is reused.
func (r *replyReader) eventGrant() EventGrant {
	text, reused := strings.CutPrefix(r.string(), "+")
	if text == "" {
		return EventGrant{Reused: reused}
	}
	number, encoded, _ := strings.Cut(text, ":")
	redrive, err := strconv.Atoi(number)
	outcome, ok := decodeOutcome(encoded)
	r.bad = r.bad || !ok || err != nil
	if held := parseHeld(outcome); held != nil {
		return EventGrant{Held: held, Reused: reused}
	}
	return EventGrant{Done: true, Outcome: outcome, Redrive: redrive, Reused: reused}
}

func (r *replyReader) fieldDecision() FieldDecision {
	switch r.int() {
	case 0:
		return Send
	case 1:
		return Superseded
	case 2:
		return Unchanged
	}
	r.bad = true
	return Send
}

func (r *replyReader) failed(op string) error {
	if r.bad || len(r.rest) > 0 {
		return failed(op, errReply)
	}
	return nil
}
