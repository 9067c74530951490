package credentials_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"membersync/cmd/internal/wiring/credentials"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A disk holds files that change. It counts how often they are read.
type disk struct {
	mu    sync.Mutex
	files map[string]string
	reads int
	log   bytes.Buffer
}

func (d *disk) write(path, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[path] = text
}

func (d *disk) remove(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, path)
}

func (d *disk) read(path string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	text, ok := d.files[path]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

// source logs without times.
func (d *disk) source() credentials.Files {
	return credentials.Files{Read: d.read, Log: slog.New(slog.NewTextHandler(&d.log, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))}
}

// logged returns the lines since the last call.
func (d *disk) logged() string {
	defer d.log.Reset()
	return d.log.String()
}

func secretText(content []byte) (string, bool) { return string(content), len(content) > 0 }

// A secret follows its file, and outlives a file that cannot be used.
func TestSecretFollowsItsFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{files: map[string]string{"path": "canary-1"}}
		current, err := credentials.Secret(d.source(), credentials.File{Setting: "PASSWORD_FILE", Path: "path"}, secretText)
		if err != nil {
			t.Fatal(err)
		}
		d.write("path", "canary-2")
		if got := current(); got != "canary-1" || d.reads != 1 {
			t.Errorf("%q after %d reads in the first second", got, d.reads)
		}
		time.Sleep(time.Second)
		for range 3 {
			if got := current(); got != "canary-2" || d.reads != 2 {
				t.Errorf("%q after %d reads, want the changed secret, read once", got, d.reads)
			}
		}
		if got := d.logged(); got != "level=INFO msg=\"changed file read again\" files=[path]\n" {
			t.Error(got)
		}
		for want, change := range map[string]func(){
			"PASSWORD_FILE: the file is empty":                                       func() { d.write("path", "") },
			"PASSWORD_FILE: cannot read the file that it names: file does not exist": func() { d.remove("path") },
		} {
			change()
			for range 59 { // within a minute
				time.Sleep(time.Second)
				if got := current(); got != "canary-2" {
					t.Errorf("%s: %q", want, got)
				}
			}
			line := "level=WARN msg=\"changed file cannot be used; its last content stays in use\" files=[path] error=\"" + want + "\"\n"
			if got := d.logged(); got != line {
				t.Errorf("want one warning:\n%s", got)
			}
			time.Sleep(time.Minute)
			current()
			if got := d.logged(); got != line {
				t.Errorf("want another warning after a minute:\n%s", got)
			}
		}
		d.write("path", "canary-2")
		time.Sleep(time.Second)
		if got := current(); got != "canary-2" || d.logged() != "" {
			t.Errorf("%q after the file is back", got)
		}
	})
}

// A file that cannot be used at the start is named by its setting. The path is not shown: it may be
// the secret itself.
func TestSecretAtTheStart(t *testing.T) {
	t.Parallel()
	d := &disk{files: map[string]string{"empty": ""}}
	for path, want := range map[string]string{
		"canary": "PASSWORD_FILE: cannot read the file that it names: file does not exist", "empty": "PASSWORD_FILE: the file is empty",
	} {
		_, err := credentials.Secret(d.source(), credentials.File{Setting: "PASSWORD_FILE", Path: path}, secretText)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	unreadable := credentials.Files{Read: func(string) ([]byte, error) { return nil, errors.New("canary") }}
	_, err := credentials.Secret(unreadable, credentials.File{Setting: "PASSWORD_FILE", Path: "path"}, secretText)
	if err == nil || err.Error() != "PASSWORD_FILE: cannot read the file that it names: unreadable" {
		t.Error(err)
	}
}
