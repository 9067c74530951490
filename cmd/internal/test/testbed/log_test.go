package testbed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const someLog = `{"time":"2026-01-02T03:04:05.5Z","level":"INFO","msg":"admin server listens","addr":"127.0.0.1:1"}
{"time":"2026-01-02T03:04:06Z","level":"WARN","msg":"calls paused","cause":"redis"}
panic: a trace follows
{"time":"2026-01-02T03:04:07Z","level":"INFO","msg":"admin server listens","addr":"127.0.0.1:2"}
`

func logging(t *testing.T) *Instance {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte(someLog), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Instance{log: path, Process: &Process{done: make(chan struct{})}}
}

func TestFindLog(t *testing.T) {
	t.Parallel()
	i := logging(t)
	l, ok, err := i.FindLog("admin server listens")
	if err != nil || !ok || l.Addr != "127.0.0.1:1" || !l.Time.Equal(time.Date(2026, 1, 2, 3, 4, 5, 5e8, time.UTC)) {
		t.Errorf("%+v, %t, %v", l, ok, err)
	}
	if l, ok, err := i.FindLog("calls paused"); err != nil || !ok || l.Cause != "redis" || l.Level != "WARN" {
		t.Errorf("%+v, %t, %v", l, ok, err)
	}
	if _, ok, err := i.FindLog("joined the group"); ok || err != nil {
		t.Errorf("found what is not there: %v", err)
	}
}

func TestLogTellsEveryLine(t *testing.T) {
	t.Parallel()
	var raw []string
	if err := logging(t).Log(func(l LogLine) bool { raw = append(raw, l.Raw); return true }); err != nil {
		t.Fatal(err)
	}
	if len(raw) != 4 || raw[2] != "panic: a trace follows" {
		t.Errorf("%q", raw)
	}
}

func TestAwaitLog(t *testing.T) {
	t.Parallel()
	ended := logging(t)
	close(ended.done)
	if _, err := ended.AwaitLog(t.Context(), "admin server listens"); err != nil {
		t.Errorf("it was there before the end: %v", err)
	}
	if _, err := ended.AwaitLog(t.Context(), "joined the group"); !errors.Is(err, ErrEnded) {
		t.Errorf("it cannot come any more: %v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errLimit)
	defer cancel()
	if _, err := logging(t).AwaitLog(ctx, "joined the group"); !errors.Is(err, errLimit) {
		t.Errorf("time is up: %v", err)
	}
	if _, err := (&Instance{log: "/nowhere"}).AwaitLog(t.Context(), "x"); err == nil {
		t.Error("there is no log")
	}
}
