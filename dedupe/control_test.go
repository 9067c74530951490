package dedupe_test

import (
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"

	"membersync/dedupe"
)

// TestOrdersFail has the reply of each of the three lookups spoilt alone.
func TestOrdersFail(t *testing.T) {
	t.Parallel()
	for _, part := range []string{":pause", ":resumes", ":born:"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			mini, client := newMini(t)
			store := newStore(t, client, nil)
			if err := store.Pause(t.Context(), time.Time{}, "", ""); err != nil {
				t.Fatal(err)
			}
			mini.Server().SetPreHook(spoil(part))
			got, err := store.Control(t.Context(), "group")
			if err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v, want one that quotes nothing", err)
			}
			if got != (dedupe.Control{}) {
				t.Errorf("orders %+v beside an error", got)
			}
		})
	}
}

// spoil answers each lookup of the key with what it cannot hold, or an error.
func spoil(part string) server.Hook {
	return func(c *server.Peer, cmd string, args ...string) bool {
		if len(args) != 1 || !strings.Contains(args[0], part) {
			return false
		}
		if cmd == "GET" {
			c.WriteBulk("{secret")
		} else {
			c.WriteError("ERR away")
		}
		return true
	}
}
