package dedupe

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Grant answers an AcquireRequest.
type Grant struct {
	// Leased says that another token holds the lease: nothing but Wait is valid.
	Leased bool
	// Pending says that a newer value of one of the fields was handed out, and nobody knows yet whether the CRM has
	// it: an older one sent now could go back in time. The lease is not taken; nothing but Wait is valid. A
	// request with the event of that newer value in it is granted, and each newer one.
	Pending bool
	// Wait is how long that lease lives, if it is not given back before; or how long the
	// newer value is waited for, if nothing becomes known of it.
	Wait time.Duration
	// Expires is when the granted lease runs out, at the earliest, on this
	// process's clock: it counts from before the request. A call must be over by then.
	Expires time.Time
	// Events has a verdict for each event asked for, in the same order.
	Events []EventGrant
	// Fields has an entry for each field that a live event states.
	Fields []FieldGrant
	// Stale has, for each event asked for, whether it is live and all its fields are
	// older than what was applied. An event without fields is not stale.
	Stale []bool
}

// A EventGrant says whether an event is live, or done already under the same or a
// higher redrive number.
type EventGrant struct {
	Done    bool
	Outcome string // of the done mark
	Redrive int    // of the done mark
	// Reused says that the source gave the event's id to another event too: one with
	// another order value is marked done, or comes earlier in the same request. Each is an
	// event of its own, so this decides nothing; it is told each time that the event is asked for.
	Reused bool
}

// A FieldGrant says what to do with a field.
type FieldGrant struct {
	Name     string
	Winner   int // place of the live event with the newest version; of equal ones the last
	Decision FieldDecision
}

// A FieldDecision is the decision about a field.
type FieldDecision uint8

// The decisions about a field.
const (
	// Send means that the winner's value is to be sent. An equal version may be sent again.
	Send FieldDecision = iota
	// Superseded means that a newer event's value was applied.
	Superseded
	// Unchanged means that the CRM holds this very value.
	Unchanged
)

// String names the verdict.
func (v FieldDecision) String() string {
	switch v {
	case Send:
		return "send"
	case Superseded:
		return "superseded"
	case Unchanged:
		return "unchanged"
	}
	return "unknown"
}

// pendingTTL is how long an older value waits for a newer one of which nothing becomes known. An event comes again until
// something does, so this ends only the wait for one that was taken from the topic meanwhile.
const pendingTTL = 6 * time.Hour

// errReply says that a script answered what no version of it does.
var errReply = errors.New("unexpected reply of the script")

// Acquire takes the lease of a member and says what of the events is still to be
// sent. Asked again with its own token, when the first answer was lost, it gives the
// same answer and lets the lease begin anew.
func (s *Store) Acquire(ctx context.Context, req AcquireRequest) (Grant, error) {
	if err := req.check(); err != nil {
		return Grant{}, err
	}
	names := fieldNames(req.Events)
	keys := s.keys(req.Member, len(req.Events), func(i int) EventID { return req.Events[i].ID })
	began := time.Now()
	reply, err := s.batch.run(ctx, s.scripts.acquire, keys, s.acquireArgs(req, names)...).Slice()
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

// wait turns the PTTL of a lease into a time to wait. Without one (nothing of ours
// writes such a lease) it is that of a whole lease.
func (s *Store) wait(millis int) time.Duration {
	if millis < 0 {
		return s.opts.Lease
	}
	return time.Duration(max(millis, 1)) * time.Millisecond
}

// fieldNames lists the distinct names of the events' fields. They are few, so a
// slice is searched faster than a map.
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

// acquireArgs are the ARGV of acquire.lua.
func (s *Store) acquireArgs(req AcquireRequest, names []string) []any {
	n := 7 + len(names)
	for _, e := range req.Events {
		n += 4 + 2*len(e.Fields)
	}
	args := make([]any, 0, n)
	args = append(args, string(req.Token), s.opts.Lease.Milliseconds(), req.Reapply, s.opts.DigestTTL.Milliseconds(),
		pendingTTL.Milliseconds(), len(req.Events), len(names))
	for _, name := range names {
		args = append(args, name)
	}
	d := s.digester(req.Member, req.DigestGeneration, !req.Reapply && !req.DistrustDigests)
	for _, e := range req.Events {
		args = append(args, e.ID.orderText(), e.Redrive, e.Version, len(e.Fields))
		for _, f := range e.Fields {
			args = append(args, slices.Index(names, f.Name)+1, d.sum(f))
		}
	}
	return args
}

func readGrant(r *replyReader, events []Event, names []string, expires time.Time) (Grant, error) {
	g := Grant{Expires: expires, Events: make([]EventGrant, len(events))}
	for i := range events {
		g.Events[i] = r.verdict()
	}
	stored := make([]string, len(names))
	for i, name := range names {
		winner, verdict := r.int(), r.fieldVerdict()
		stored[i] = r.string()
		if winner > 0 {
			g.Fields = append(g.Fields, FieldGrant{Name: name, Winner: winner - 1, Decision: verdict})
		}
	}
	if err := r.failed("acquire"); err != nil {
		return Grant{}, err
	}
	g.Stale = make([]bool, len(events))
	for i, e := range events {
		g.Stale[i] = !g.Events[i].Done && len(e.Fields) > 0 &&
			!slices.ContainsFunc(e.Fields, func(f Field) bool { return stored[slices.Index(names, f.Name)] <= e.Version })
	}
	return g, nil
}

// A replyReader walks over the flat reply of a script. It remembers the first fault.
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

// verdict reads redrive:outcome, or the empty text of a live event, with a plus before it if the id is reused.
func (r *replyReader) verdict() EventGrant {
	text, reused := strings.CutPrefix(r.string(), "+")
	if text == "" {
		return EventGrant{Reused: reused}
	}
	number, outcome, ok := strings.Cut(text, ":")
	redrive, err := strconv.Atoi(number)
	r.bad = r.bad || !ok || err != nil
	return EventGrant{Done: true, Outcome: outcome, Redrive: redrive, Reused: reused}
}

func (r *replyReader) fieldVerdict() FieldDecision {
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
