package testbed

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// A LogLine is one line of an instance's log.
type LogLine struct {
	Time  time.Time `json:"time"`
	Level string    `json:"level"`
	Msg   string    `json:"msg"`
	Addr  string    `json:"addr"`
	Cause string    `json:"cause"`
	Raw   string    `json:"-"`
}

// Log calls a function with each line logged so far, until it returns false. A line that is not
// JSON, such as that of a panic, has only Raw.
func (i *Instance) Log(line func(LogLine) bool) error {
	f, err := os.Open(i.log)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l := LogLine{}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			l = LogLine{}
		}
		l.Raw = lines.Text()
		if !line(l) {
			return nil
		}
	}
	return lines.Err()
}

// FindLog returns the first line with the message.
func (i *Instance) FindLog(msg string) (found LogLine, ok bool, err error) {
	err = i.Log(func(l LogLine) bool {
		if l.Msg == msg {
			found, ok = l, true
		}
		return !ok
	})
	return found, ok, err
}

// AwaitLog waits for the first line with the message.
func (i *Instance) AwaitLog(ctx context.Context, msg string) (found LogLine, err error) {
	err = Until(ctx, poll, func(context.Context) (bool, error) {
		var ok bool
		var err error
		if found, ok, err = i.FindLog(msg); ok || err != nil {
			return ok, err
		}
		select {
		case <-i.done:
			return false, ErrEnded
		default:
			return false, nil
		}
	})
	if err != nil {
		return LogLine{}, fmt.Errorf("waiting for %q in the log: %w", msg, err)
	}
	return found, nil
}

// Tail returns the end of the log, for an error.
func (i *Instance) Tail() string {
	const size = 2000
	text, err := os.ReadFile(i.log)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(text[max(0, len(text)-size):]))
}
