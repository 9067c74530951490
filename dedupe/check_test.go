package dedupe_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2/server"

	"membersync/dedupe"
)

// policyHook replies to INFO memory, which miniredis does not support, as a real server does.
func policyHook(policy string) server.Hook {
	return func(c *server.Peer, cmd string, _ ...string) bool {
		if cmd != "INFO" {
			return false
		}
		c.WriteBulk("# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:" + policy + "\r\n")
		return true
	}
}

// configHook reports the policy through CONFIG and not through INFO.
func configHook(policy string) server.Hook {
	return func(c *server.Peer, cmd string, _ ...string) bool {
		if cmd != "CONFIG" {
			return false
		}
		c.WriteMapLen(1)
		c.WriteBulk("maxmemory-policy")
		c.WriteBulk(policy)
		return true
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	none := func(*server.Peer, string, ...string) bool { return false }
	tests := map[string]struct {
		hook server.Hook
		want error
	}{
		"INFO reports noeviction":   {policyHook("noeviction"), nil},
		"INFO reports eviction":     {policyHook("volatile-ttl"), dedupe.ErrEviction},
		"CONFIG reports noeviction": {configHook("noeviction"), nil},
		"CONFIG reports eviction":   {configHook("allkeys-lru"), dedupe.ErrEviction},
		"neither reports it":        {none, dedupe.ErrEvictionUnknown},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, client := newMini(t)
			m.Server().SetPreHook(tt.hook)
			if err := newStore(t, client, nil).Check(t.Context()); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestCheckUnreachable(t *testing.T) {
	t.Parallel()
	m, client := newMini(t)
	m.Close()
	err := newStore(t, client, nil).Check(t.Context())
	if err == nil || errors.Is(err, dedupe.ErrEviction) || errors.Is(err, dedupe.ErrEvictionUnknown) {
		t.Errorf("error %v, want the network's error", err)
	}
}

func TestNewReportsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := dedupe.New(nil, dedupe.Options{Prefix: "a{b}", MemberTTL: -1, Key: []byte("key")})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"prefix", "done TTL", "member TTL", "lease", "digest TTL"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q, want it to name the %s", err, part)
		}
	}
}
