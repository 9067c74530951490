package dedupe_test

import (
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2/server"

	"membersync/dedupe"
)

// TestControlFails corrupts the reply of one of three lookups at a time.
func TestControlFails(t *testing.T) {
	t.Parallel()
	for _, part := range []string{":pause", ":releases", ":marker"} { // parts of the stored keys
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			mini, client := newMini(t)
			store := newStore(t, client, nil)
			if err := store.Pause(t.Context(), time.Time{}, "", ""); err != nil {
				t.Fatal(err)
			}
			mini.Server().SetPreHook(corrupt(part))
			got, err := store.Control(t.Context(), "group")
			if err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v, want one that quotes nothing", err)
			}
			if got != (dedupe.Control{}) {
				t.Errorf("control state %+v together with an error", got)
			}
		})
	}
}

// corrupt replies to each lookup of the key with an invalid value, or an error.
func corrupt(part string) server.Hook {
	return func(c *server.Peer, cmd string, args ...string) bool {
		if len(args) != 1 || !strings.Contains(args[0], part) {
			return false
		}
		if cmd == "GET" {
			c.WriteBulk("{secret")
		} else {
			c.WriteError("ERR unavailable")
		}
		return true
	}
}
