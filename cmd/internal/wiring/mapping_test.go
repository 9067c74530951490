package wiring

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"membersync/mapper"
)

const tabled = `version: 1
identity: {event_id: $event.id, employee_id: $event.id, open_user_id: {from: $event.id, lookup: members}}
order: {kind: sequence, from: $event.seq}
states: {after: $event}
lookups: {members: {file: members.csv}, bosses: {redis: bosses}}
fields: {position: title, leaderId: {from: boss, lookup: bosses}}
`

// A disk is files that can be changed while they are watched.
type disk struct {
	mu    sync.Mutex
	files map[string]string
}

func (d *disk) write(path, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[path] = text
}

func (d *disk) read(path string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	text, ok := d.files[path]
	if !ok || text == "unreadable" {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
	}
	return []byte(text), nil
}

// knows reports whether the mapping translates an id.
func knows(m *Mapping, id string) bool {
	got := m.MapWith(mapper.Record{Value: []byte(`{"id":"` + id + `","seq":1,"title":"A"}`)}, nil)
	return got[0].Fault == nil
}

// TestWatch: a table follows its file, once two checks have found the same content, and stays when
// a new one cannot be used.
func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{files: map[string]string{"maps/hr.yaml": tabled, "maps/members.csv": "hr,crm\nE1,F1\n"}}
		m, err := LoadMapping(load(t, "MEMBERSYNC_MAPPING=maps/hr.yaml"), d.read)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		ctx, cancel := context.WithCancelCause(t.Context())
		var watcher sync.WaitGroup
		watcher.Go(func() { m.Watch(ctx, slog.New(slog.NewTextHandler(&out, nil))) })
		after := func(looks int) {
			time.Sleep(time.Duration(looks) * tablePoll)
			synctest.Wait()
		}
		after(3)
		if out.Len() > 0 || !knows(m, "E1") || knows(m, "E2") {
			t.Errorf("nothing has changed: %s", out.String())
		}
		for _, bad := range []string{"unreadable", "hr,crm\nE2\n", "hr,crm\n"} {
			d.write("maps/members.csv", bad)
			after(5)
			if n := strings.Count(out.String(), "stays"); n != 1 || !strings.Contains(out.String(), "lookup=members") || !knows(m, "E1") {
				t.Errorf("%q: told %d times: %s", bad, n, out.String())
			}
			out.Reset()
		}
		d.write("maps/members.csv", "hr,crm\nE2,F2\n")
		after(1)
		if knows(m, "E2") {
			t.Error("a content that one look has met counts")
		}
		after(1)
		if !knows(m, "E2") || knows(m, "E1") || !strings.Contains(out.String(), "entries=1") {
			t.Errorf("the new content does not count: %s", out.String())
		}
		cancel(errors.New("test over"))
		watcher.Wait()
	})
}

// A content that changes with each look is a file that is being written.
func TestWatchWaitsForTheWriter(t *testing.T) {
	t.Parallel()
	d := &disk{files: map[string]string{"m.csv": "hr,crm\nE1,F1\n"}}
	f := &tableFile{path: "m.csv", readFile: d.read}
	if _, err := f.load(); err != nil {
		t.Fatal(err)
	}
	text := "hr,crm\n"
	for _, more := range []string{"E1,F1\n", "E2,F2\n", "E3,F3\n"} {
		text += more
		d.write("m.csv", text)
		if table, news, err := f.look(); table != nil || news || err != nil {
			t.Errorf("%q is taken: %v", text, err)
		}
	}
	if table, news, err := f.look(); err != nil || !news || table.Len() != 3 {
		t.Errorf("the whole file is not taken: %v", err)
	}
}

func TestLoadMappingFaults(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"canonicl": `mapping "canonicl" is not built in (canonical, canonical-time, cloudevents, debezium are), and no file that can be read: open canonicl: permission denied; did you mean canonical?`,
		"hr.yaml":  "hr.yaml:5:11: lookup members: open members.csv: permission denied",
		"bad.yaml": `bad.yaml:5:50: "redi" is no key here; is redis meant?`,
	} {
		d := &disk{files: map[string]string{"hr.yaml": tabled, "bad.yaml": strings.Replace(tabled, "redis:", "redi:", 1)}}
		_, err := LoadMapping(load(t, "MEMBERSYNC_MAPPING="+name), d.read)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}

func TestHashes(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	d := &disk{files: map[string]string{"hr.yaml": tabled, "members.csv": "hr,crm\nE1,F1\n"}}
	m, err := LoadMapping(load(t, "MEMBERSYNC_MAPPING=hr.yaml"), d.read)
	if err != nil {
		t.Fatal(err)
	}
	h, any := NewHashes(m.Now(), client)
	if !any {
		t.Fatal("none")
	}
	if err := h.Check(t.Context()); err != nil {
		t.Errorf("a hash that is not there yet: %v", err)
	}
	server.HSet("bosses", "E1", "F1", "E2", "")
	refs := []mapper.Reference{{Lookup: "bosses", Key: "E1"}, {Lookup: "bosses", Key: "E2"}, {Lookup: "bosses", Key: "E3"}}
	found, err := h.Find(t.Context(), refs)
	if err != nil || len(found) != 1 || found[refs[0]] != "F1" {
		t.Errorf("%v, %v", found, err)
	}
	server.SetError("LOADING")
	if found, err := h.Find(t.Context(), refs); err == nil || !strings.Contains(err.Error(), "lookup bosses: ") || strings.Contains(err.Error(), "E1") {
		t.Errorf("%v, %v", found, err)
	}
	server.SetError("")
	server.Del("bosses")
	if err := server.Set("bosses", "text"); err != nil {
		t.Fatal(err)
	}
	if err := h.Check(t.Context()); !errors.Is(err, ErrNoHash) {
		t.Error(err)
	}
}
