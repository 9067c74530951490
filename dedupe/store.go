package dedupe

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Options configure a Store.
type Options struct {
	// Prefix begins every key. Required. It must not contain a brace, which would replace the hash
	// tag that keeps a member's keys together.
	Prefix string
	// Scope identifies who shares the rate limit and the control state: the CRM's base URL and the
	// company. It is needed only by Permit, PermitDone, Throttle, the locks and the control state.
	Scope string
	// DoneTTL is how long an event is remembered as done at least; it may be up to two hours longer.
	// Required, from 1 ms to 30000 h.
	DoneTTL time.Duration
	// MemberTTL is how long the versions of a member are kept after its last completion or restore.
	// No topic may hold an event for longer, see DESIGN.md. Zero: for good; else at least DoneTTL.
	MemberTTL time.Duration
	// Lease is how long a lease lasts from each send: twice the call's time-out plus five seconds.
	// Required, at least 1 ms.
	Lease time.Duration
	// Key is the state key: that of the HMACs of members, events and values. With another key, all
	// that was stored before is unknown. Empty: members and events are plain hashes, so that a
	// reader of Redis can test guesses, and digests are off.
	Key []byte
	// DigestTTL is how long a digest is trusted. Required with a Key, at least 1 ms.
	DigestTTL time.Duration
}

func (o Options) check() error {
	var faults []error
	fault := func(bad bool, what string) {
		if bad {
			faults = append(faults, &RequestError{What: what})
		}
	}
	fault(o.Prefix == "" || strings.ContainsAny(o.Prefix, "{}"), "prefix: must not be empty or contain a brace")
	fault(o.DoneTTL < time.Millisecond || o.DoneTTL > maxDoneTTL, "done TTL: must be from 1 ms to 30000 h")
	fault(o.MemberTTL < 0 || o.MemberTTL > 0 && o.MemberTTL < o.DoneTTL, "member TTL: must be 0 or at least the done TTL")
	fault(o.Lease < time.Millisecond, "lease: must be at least 1 ms")
	fault(len(o.Key) > 0 && o.DigestTTL < time.Millisecond, "digest TTL: must be at least 1 ms")
	return errors.Join(faults...)
}

// A RequestError reports an invalid request: a mistake of the program, not of Redis. It never
// contains a value of a member field.
type RequestError struct {
	What string // the part that is wrong, and what is allowed
}

// Error implements error.
func (e *RequestError) Error() string { return "dedupe: " + e.What }

// ErrTokenUsed reports that Complete has already run under the token: either the request is an old
// one that arrived late, or the caller used a token twice.
var ErrTokenUsed = errors.New("dedupe: token already completed")

// A Store gives access to the state in Redis, by subject. It is safe for concurrent use. It does
// not close its client.
type Store struct {
	*MemberStore
	*LimitStore
	*ControlStore
	*GroupStore
	*keyspace
}

type (
	// MemberStore keeps leases, field versions, digests and done marks, by member.
	MemberStore struct{ *keyspace }
	// LimitStore keeps the shared limit on calls, and locks.
	LimitStore struct{ *keyspace }
	// ControlStore keeps what operators and instances have to let the other instances know: pauses,
	// releases of held events, the generation of digests, heartbeats.
	ControlStore struct {
		*keyspace
		groups *GroupStore
	}
	// GroupStore keeps a marker for each consumer group, by which lost state is noticed.
	GroupStore struct{ *keyspace }
)

// A keyspace is what all parts of a store share: client, options, names of keys and scripts.
type keyspace struct {
	client  redis.UniversalClient
	batch   *batcher
	opts    Options
	scope   string // prefix of the keys that the instances of the scope share
	scripts scripts
}

type scripts struct {
	acquire, complete, renew, release, permit, permitDone *redis.Script
	throttle, lock, unlock, view, restore                 *redis.Script
	beat, beats, markLost, endRebuild                     *redis.Script
}

//go:embed pending.lua
var pendingLua string

//go:embed marks.lua
var marksLua string

//go:embed written.lua
var writtenLua string

//go:embed acquire.lua
var acquireLua string

//go:embed complete.lua
var completeLua string

//go:embed restore.lua
var restoreLua string

//go:embed permit.lua
var permitLua string

// New returns a Store that uses the client. It does not send anything to Redis yet. An error
// reports every fault of the options.
func New(client redis.UniversalClient, opts Options) (*Store, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	k := &keyspace{
		client: client,
		batch:  newBatcher(client),
		opts:   opts,
		scope:  opts.Prefix + ":{limit:" + sumOf("scope", opts.Scope).String() + "}:",
		scripts: scripts{
			acquire:    redis.NewScript(pendingLua + marksLua + acquireLua),
			complete:   redis.NewScript(pendingLua + marksLua + writtenLua + completeLua),
			renew:      redis.NewScript(renewLua),
			release:    redis.NewScript(pendingLua + releaseLua),
			permit:     redis.NewScript(permitLua),
			permitDone: redis.NewScript(permitDoneLua),
			throttle:   redis.NewScript(throttleLua),
			lock:       redis.NewScript(lockLua),
			unlock:     redis.NewScript(unlockLua),
			view:       redis.NewScript(pendingLua + viewLua),
			restore:    redis.NewScript(pendingLua + marksLua + writtenLua + restoreLua),
			beat:       redis.NewScript(pendingLua + beatLua),
			beats:      redis.NewScript(pendingLua + beatsLua),
			markLost:   redis.NewScript(markLostLua),
			endRebuild: redis.NewScript(endRebuildLua),
		},
	}
	groups := &GroupStore{k}
	return &Store{
		MemberStore: &MemberStore{k}, LimitStore: &LimitStore{k}, ControlStore: &ControlStore{k, groups}, GroupStore: groups, keyspace: k,
	}, nil
}

// memberKey is the prefix of one member's keys. The braces are the hash tag: all keys of a member
// are in one slot of a cluster, so that one script may access them together.
func (s *keyspace) memberKey(h *hasher, m Member) string {
	return s.opts.Prefix + ":{" + h.member(m) + "}:"
}

// keys lists the keys of the lease, the fields, the done marks and the pending values. The names of
// those that stay are short: with the default prefix each of them fits into 32 bytes of memory.
func (s *keyspace) keys(h *hasher, m Member) []string {
	base := s.memberKey(h, m)
	return []string{base + "lease", base + "f", base + "d", base + "pending"}
}

// doneKey is the key of the member's done marks.
func (s *keyspace) doneKey(h *hasher, m Member) string { return s.memberKey(h, m) + "d" }

func failed(op string, err error) error {
	if isFormatError(err) {
		err = ErrFormat
	}
	return fmt.Errorf("dedupe: %s: %w", op, err)
}
