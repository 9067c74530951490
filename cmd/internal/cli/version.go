package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

// A build is what is known of the binary.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
}

// String is the build in one line.
func (b build) String() string {
	return fmt.Sprintf("membersync %s, revision %s, %s", b.Version, b.Revision, b.Go)
}

// buildOf completes what was given at build time by what the toolchain recorded.
func buildOf(env Env) build {
	b := build{Version: env.Version, Revision: cmp.Or(env.Revision, "unknown"), Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if b.Version == "" {
		b.Version = "dev"
		if ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
	}
	if !ok || env.Revision != "" {
		return b
	}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	b.Revision += dirty
	return b
}

func (in *invocation) printJSON(v any) int {
	encoder := json.NewEncoder(in.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		in.complain("stdout: " + err.Error())
		return exitFailed
	}
	return exitDone
}
