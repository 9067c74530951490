package dedupe_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"membersync/dedupe"
)

// TestPermissionErrors shows what the replies of Redis about its ACL become. That they are the
// replies of a real Redis is shown in cmd/internal/test/secured.
func TestPermissionErrors(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]string{
		"NOPERM this user has no permissions to run the 'config|get' command":                                    "may not run config|get: add +config|get to its ACL, see cmd/SECURITY.md",
		"NOPERM User x has no permissions to run the 'get' command":                                              "may not run get: add +get to its ACL",
		"NOPERM this user has no permissions to access one of the keys used as arguments":                        `may not access key "ms:{state:`,
		"NOPERM No permissions to access a key":                                                                  `may not access key "ms:{state:`,
		"ERR The user executing the script can't run this command or subcommand script: abc, on @user_script:1.": "may not run a command of a script: compare",
	} {
		server := miniredis.RunT(t)
		client, err := dedupe.Open(dedupe.ClientConfig{URL: "redis://" + server.Addr()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		store, err := dedupe.New(client, dedupe.Options{Prefix: "ms", DoneTTL: time.Hour, Lease: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		server.SetError(reply)
		_, err = store.Marker(t.Context(), "group")
		if _, ok := errors.AsType[*dedupe.PermissionError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", reply, err, want)
		}
		events := []dedupe.MemberEvent{{Member: dedupe.NewMember("http://crm", "C", "sample"), ID: dedupe.NewEventID("topic", "sample", 0, "1")}}
		if _, err := store.DoneOf(t.Context(), events); !strings.Contains(fmt.Sprint(err), "cmd/SECURITY.md") {
			t.Errorf("%s: %v in a pipeline", reply, err)
		}
		server.SetError("")
		if err := store.Check(t.Context()); err != nil && !errors.Is(err, dedupe.ErrEvictionUnknown) {
			t.Errorf("a server that does not say what is allowed: %v", err)
		}
	}
}

// TestThePageHasEveryCommandOfTheScripts compares the scripts with the ACL of cmd/SECURITY.md.
func TestThePageHasEveryCommandOfTheScripts(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../cmd/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "ACL SETUSER membersync ")
	command, _, _ := strings.Cut(rest, "```")
	granted := strings.Fields(command)
	needed, err := os.ReadFile("permission.go")
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`redis\.call\('([A-Z]+)'`)
	for _, pattern := range []string{"*.lua", "*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file) //nolint:gosec // of this package
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range call.FindAllStringSubmatch(string(text), -1) {
				command := strings.ToLower(match[1])
				if !slices.Contains(granted, "+"+command) || !strings.Contains(string(needed), `"`+command+`"`) {
					t.Errorf("%s runs %s, which cmd/SECURITY.md or neededCommands lacks", file, command)
				}
			}
		}
	}
}
