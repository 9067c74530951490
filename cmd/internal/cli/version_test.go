package cli

import "testing"

// What the linker has set precedes what the toolchain has recorded.
func TestRevisionOfTheBuild(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env               Env
		version, revision string
	}{
		{Env{Version: "1.2.3", Revision: "0123abc"}, "1.2.3", "0123abc"},
		{Env{Revision: "0123abc"}, "dev", "0123abc"},
		{Env{Version: "1.2.3"}, "1.2.3", "unknown"}, // a test's binary has no revision
	} {
		if b := buildOf(c.env); b.Version != c.version || b.Revision != c.revision {
			t.Errorf("%+v, want %s and %s", b, c.version, c.revision)
		}
	}
}
