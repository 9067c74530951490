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
	// Prefix begins every key. It must not be empty nor hold a brace, which would
	// take the place of the hash tag that keeps a member's keys together.
	Prefix string
	// Scope is what the rate limit and the pause are shared by: the CRM's base URL
	// and the company. Needed only by Permit, PermitDone, Throttle and the pause.
	Scope string
	// DoneTTL is how long an event is remembered as done. Required.
	DoneTTL time.Duration
	// Lease is how long a lease lives from each send: twice the call's time-out and
	// five seconds. Required.
	Lease time.Duration
	// DigestKey turns digests on: the key of their HMAC. Empty for none.
	DigestKey []byte
	// DigestTTL is how long a digest is believed. Required with a DigestKey.
	DigestTTL time.Duration
}

func (o Options) check() error {
	var faults []error
	fault := func(bad bool, what string) {
		if bad {
			faults = append(faults, &RequestError{What: what})
		}
	}
	fault(o.Prefix == "" || strings.ContainsAny(o.Prefix, "{}"), "prefix: must not be empty nor hold a brace")
	fault(o.DoneTTL < time.Millisecond, "done TTL: must be at least 1 ms")
	fault(o.Lease < time.Millisecond, "lease: must be at least 1 ms")
	fault(len(o.DigestKey) > 0 && o.DigestTTL < time.Millisecond, "digest TTL: must be at least 1 ms")
	return errors.Join(faults...)
}

// A RequestError says that the caller asked for something impossible: a mistake of
// the program, not of Redis. It never carries a value.
type RequestError struct {
	What string // the part that is wrong, and what it should be
}

// Error implements error.
func (e *RequestError) Error() string { return "dedupe: " + e.What }

// ErrTokenUsed says that Complete already ran under the token: the request is an
// old one that arrived late, or the caller uses a token twice.
var ErrTokenUsed = errors.New("dedupe: token already completed")

// A Store is the state in Redis. It is safe for concurrent use. It does not close its client.
type Store struct {
	client  redis.UniversalClient
	batch   *batcher
	opts    Options
	scope   string // prefix of the keys of the limit and the pause
	scripts scripts
}

type scripts struct {
	acquire, complete, renew, release, permit, permitDone, throttle, lock, unlock, view, restore *redis.Script
}

//go:embed pending.lua
var pendingLua string

//go:embed acquire.lua
var acquireLua string

//go:embed complete.lua
var completeLua string

//go:embed restore.lua
var restoreLua string

//go:embed permit.lua
var permitLua string

// New returns the state kept behind the client. It does not speak to Redis yet.
func New(client redis.UniversalClient, opts Options) (*Store, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	return &Store{
		client: client,
		batch:  newBatcher(client),
		opts:   opts,
		scope:  opts.Prefix + ":{limit:" + sumOf("scope", opts.Scope).String() + "}:",
		scripts: scripts{
			acquire:    redis.NewScript(pendingLua + acquireLua),
			complete:   redis.NewScript(pendingLua + completeLua),
			renew:      redis.NewScript(renewLua),
			release:    redis.NewScript(pendingLua + releaseLua),
			permit:     redis.NewScript(permitLua),
			permitDone: redis.NewScript(permitDoneLua),
			throttle:   redis.NewScript(throttleLua),
			lock:       redis.NewScript(lockLua),
			unlock:     redis.NewScript(unlockLua),
			view:       redis.NewScript(pendingLua + viewLua),
			restore:    redis.NewScript(restoreLua),
		},
	}, nil
}

// memberKey begins the keys of one member. The braces are the hash tag: all keys of
// a member live in one slot of a cluster, so that a script may touch them together.
func (s *Store) memberKey(m Member) string { return s.opts.Prefix + ":{" + m.String() + "}:" }

// keys lists the lease, the fields and then the done mark of each of n events.
func (s *Store) keys(m Member, n int, event func(int) EventID) []string {
	base := s.memberKey(m)
	keys := make([]string, 0, 2+n)
	keys = append(keys, base+"lease", base+"fields")
	for i := range n {
		keys = append(keys, base+"done:"+event(i).sum.String())
	}
	return keys
}

func failed(op string, err error) error { return fmt.Errorf("dedupe: %s: %w", op, err) }
