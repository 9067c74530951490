package wiring

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A message that repeats fast is left out, with the number in its next line; others are not.
func TestRepeatedMessagesAreSampled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		level := new(slog.LevelVar)
		log := Logger("text", level, &out)
		say := func(message string, times int) (lines int) {
			out.Reset()
			for range times {
				log.With(slog.Int("n", 1)).LogAttrs(t.Context(), slog.LevelWarn, message) //nolint:sloglint // one of two constants
			}
			return strings.Count(out.String(), "\n")
		}
		if n := say("sample", sampleLines+7); n != sampleLines {
			t.Errorf("%d lines, want %d", n, sampleLines)
		}
		if n := say("other", 1); n != 1 {
			t.Errorf("another message: %d lines, want 1", n)
		}
		time.Sleep(sampleTime)
		if n := say("sample", 2); n != 2 || strings.Count(out.String(), "left_out=7") != 1 {
			t.Errorf("%d lines: %s", n, out.String())
		}
		level.Set(slog.LevelDebug)
		if n := say("sample", 3*sampleLines); n != 3*sampleLines {
			t.Errorf("%d lines of a debug log, want all %d", n, 3*sampleLines)
		}
	})
}

// The level follows the configuration. What cannot be read changes nothing, and is logged once.
func TestTheLevelFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		level := new(slog.LevelVar)
		log := Logger("text", level, &out)
		var mu sync.Mutex
		to, fault := slog.LevelInfo, error(nil)
		look := func() (slog.Level, error) {
			mu.Lock()
			defer mu.Unlock()
			return to, fault
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			FollowLevel(ctx, level, look, log)
		}()
		time.Sleep(levelPoll / 2) // between two looks
		for _, step := range []struct {
			name string
			to   slog.Level
			err  error
			want slog.Level
			line string // that is logged; empty: none
		}{
			{"the same", slog.LevelInfo, nil, slog.LevelInfo, ""},
			{"debug", slog.LevelDebug, nil, slog.LevelDebug, `level=INFO msg="log level changed" from=INFO to=DEBUG`},
			{"a fault", 0, errors.New("invalid"), slog.LevelDebug, `level=WARN msg="log level not read again; it stays" error=invalid`},
			{"the same fault", 0, errors.New("invalid"), slog.LevelDebug, ""},
			{"another fault", 0, errors.New("unreadable"), slog.LevelDebug, "error=unreadable"},
			{"error", slog.LevelError, nil, slog.LevelError, `level=INFO msg="log level changed" from=DEBUG to=ERROR`},
		} {
			mu.Lock()
			to, fault = step.to, step.err
			out.Reset()
			mu.Unlock()
			time.Sleep(levelPoll)
			synctest.Wait()
			if level.Level() != step.want || !strings.Contains(out.String(), step.line) || strings.Count(out.String(), "\n") != min(len(step.line), 1) {
				t.Errorf("%s: level %v, want %v; logged %q, want %q", step.name, level.Level(), step.want, out.String(), step.line)
			}
		}
		cancel()
		<-done
	})
}
