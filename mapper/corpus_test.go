package mapper_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"membersync/mapper"
)

// A corpusFile is one file of testdata/corpus: a mapping, and messages with what must come of them.
type corpusFile struct {
	Builtin  string                       // the name of a built-in mapping, or
	File     string                       // a mapping file, or
	Mapping  string                       // the text of one
	Template string                       // of the value, with a $ where a case's event belongs
	Lookups  map[string]map[string]string // what lookups hold
	Headers  map[string]string
	Cases    []corpusCase

	mapped *mapper.Mapping // with the usual options
}

type corpusCase struct {
	Name       string
	Covers     []string
	Event      *string // put into the template
	Value      string
	Base64     string
	Framed     string // the value behind 0x01 and a GUID
	FramedKey  string `yaml:"framed_key"` // the key behind 0x00 and an id
	Tombstone  bool
	Key        *string
	Headers    map[string]string
	MaxBytes   int    `yaml:"max_bytes"`
	EventID    string `yaml:"event_id"`
	EmployeeID string `yaml:"employee_id"`
	Order      string
	Want       []string // outcome, and the user object, the reason, or the reason and the path
}

func readYAML(tb testing.TB, path string, to any) {
	tb.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(string(readFile(tb, path))))
	decoder.KnownFields(true)
	if err := decoder.Decode(to); err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
}

// corpus reads all files of the corpus, by their names.
func corpus(tb testing.TB) map[string]*corpusFile {
	tb.Helper()
	paths, err := filepath.Glob("testdata/corpus/*.yaml")
	if err != nil || len(paths) == 0 {
		tb.Fatal(paths, err)
	}
	files := make(map[string]*corpusFile, len(paths))
	for _, path := range paths {
		file := new(corpusFile)
		readYAML(tb, path, file)
		file.mapped = file.parse(tb, corpusOptions(&corpusCase{}))
		files[strings.TrimSuffix(filepath.Base(path), ".yaml")] = file
	}
	return files
}

// mapping returns the mapping of a corpus file for one of its cases.
func (f *corpusFile) mapping(tb testing.TB, c *corpusCase) *mapper.Mapping {
	tb.Helper()
	if c.MaxBytes > 0 {
		return f.parse(tb, corpusOptions(c))
	}
	return f.mapped
}

func (f *corpusFile) parse(tb testing.TB, opts mapper.Options) *mapper.Mapping {
	tb.Helper()
	if f.Builtin != "" {
		return builtin(tb, f.Builtin, opts)
	}
	name, text := "mapping", []byte(f.Mapping)
	if f.File != "" {
		name, text = f.File, readFile(tb, f.File)
	}
	m, err := mapper.Parse(name, text, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tables := map[string]mapper.Table{}
	for _, l := range m.Lookups() {
		if l.File != "" {
			tables[l.Name] = tableOf(f.Lookups[l.Name])
		}
	}
	m, err = m.WithTables(tables)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// A tableOf is a table in memory.
type tableOf map[string]string

func (t tableOf) Lookup(key string) (string, bool) {
	value, ok := t[key]
	return value, ok
}

// run maps a record the way a caller does: first it looks up what the record refers to.
func (f *corpusFile) run(m *mapper.Mapping, rec mapper.Record) []mapper.Result {
	return m.MapWith(rec, f.found(m, rec))
}

func (f *corpusFile) found(m *mapper.Mapping, rec mapper.Record) map[mapper.Reference]string {
	found := map[mapper.Reference]string{}
	for _, ref := range m.References(rec) {
		if value, ok := f.Lookups[ref.Lookup][ref.Key]; ok {
			found[ref] = value
		}
	}
	return found
}

func (c *corpusCase) record(tb testing.TB, f *corpusFile) mapper.Record {
	tb.Helper()
	rec := record(c.Value)
	if c.Event != nil {
		rec.Value = []byte(strings.Replace(f.Template, "$", *c.Event, 1))
	}
	if c.Base64 != "" {
		value, err := base64.StdEncoding.DecodeString(c.Base64)
		if err != nil {
			tb.Fatal(err)
		}
		rec.Value = value
	}
	if c.Framed != "" {
		rec.Value = []byte("\x01" + strings.Repeat("\xfe", 16) + c.Framed)
	}
	if c.Tombstone {
		rec.Value = nil
	}
	rec.Key = nil
	if c.FramedKey != "" {
		rec.Key = []byte("\x00\xff\xff\xff\x07" + c.FramedKey)
	}
	if c.Key != nil {
		rec.Key = []byte(*c.Key)
	}
	for _, headers := range []map[string]string{f.Headers, c.Headers} {
		for name, value := range headers {
			rec.Headers = append(rec.Headers, mapper.Header{Key: name, Value: []byte(value)})
		}
	}
	return rec
}

// corpusOptions are the options of the corpus, whose mappings name their zones.
func corpusOptions(c *corpusCase) mapper.Options {
	opts := mapper.Options{MaxRecordBytes: 1 << 20, MaxAhead: 24 * time.Hour}
	if c.MaxBytes > 0 {
		opts.MaxRecordBytes = c.MaxBytes
	}
	return opts
}

// told renders a result the way the corpus does.
func told(r mapper.Result) string {
	switch {
	case r.Fault != nil && r.Fault.Whole:
		return strings.TrimSpace(fmt.Sprintf("whole %s %s", r.Fault.Reason, r.Fault.Path))
	case r.Fault != nil:
		return strings.TrimSpace(fmt.Sprintf("rejected %s %s", r.Fault.Reason, r.Fault.Path))
	case r.Event.Ignored != "":
		return "ignored " + r.Event.Ignored
	case r.Event.Update.Len() == 0:
		return "unchanged"
	}
	return "update " + sortedJSON(user(r.Event.Update))
}

// sortedJSON writes an object in one way, numbers as they are.
func sortedJSON(text string) string {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return "no JSON: " + text
	}
	sorted, err := json.Marshal(v)
	if err != nil {
		return "no JSON: " + text
	}
	return string(sorted)
}

func (c *corpusCase) wanted() []string {
	want := slices.Clone(c.Want)
	for i, w := range want {
		if object, ok := strings.CutPrefix(w, "update "); ok {
			want[i] = "update " + sortedJSON(object)
		}
	}
	return want
}

func TestCorpus(t *testing.T) {
	t.Parallel()
	for name, file := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range file.Cases {
				c := &file.Cases[i]
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					c.check(t, file)
				})
			}
		})
	}
}

func (c *corpusCase) check(t *testing.T, file *corpusFile) {
	t.Helper()
	results := file.run(file.mapping(t, c), c.record(t, file))
	got := make([]string, len(results))
	for i, r := range results {
		got[i] = told(r)
		if r.Fault == nil && r.Event.Ignored == "" && (r.Event.Index != i || r.Event.Count != len(results) || len(r.Event.Version) != 64) {
			t.Errorf("event %d of %d with version %q, want %d of %d", r.Event.Index, r.Event.Count, r.Event.Version, i, len(results))
		}
	}
	if diff := cmp.Diff(c.wanted(), got); diff != "" {
		t.Errorf("-want +got:\n%s\n%v", diff, results[0].Fault)
	}
	first := results[0].Event
	for _, id := range []struct{ what, want, got string }{
		{"event id", c.EventID, first.ID}, {"employee id", c.EmployeeID, first.EmployeeID}, {"order", c.Order, first.Order},
	} {
		if id.want != "" && id.want != id.got {
			t.Errorf("%s %q, want %q", id.what, id.got, id.want)
		}
	}
}

// TestCorpusCoversEveryKindOfEvent holds the corpus to the list of what must be coped with.
func TestCorpusCoversEveryKindOfEvent(t *testing.T) {
	t.Parallel()
	bullets := map[string]string{}
	readYAML(t, "testdata/bullets.yaml", &bullets)
	cases, updates, covered := 0, 0, map[string]int{}
	for name, file := range corpus(t) {
		for i := range file.Cases {
			c := &file.Cases[i]
			cases++
			if slices.ContainsFunc(c.Want, func(w string) bool { return strings.HasPrefix(w, "update {") }) {
				updates++
			}
			if len(c.Covers) == 0 || len(c.Want) == 0 {
				t.Errorf("%s: %q covers or wants nothing", name, c.Name)
			}
			for _, id := range c.Covers {
				if bullets[id] == "" {
					t.Errorf("%s: %q covers %q, which is not in the list", name, c.Name, id)
				}
				covered[id]++
			}
		}
	}
	for id := range bullets {
		if covered[id] == 0 {
			t.Errorf("no case covers %s", id)
		}
	}
	if cases < 120 || updates < 70 {
		t.Errorf("%d cases, %d of which end in an update", cases, updates)
	}
	t.Logf("%d cases, %d of which end in an update, %d kinds of events", cases, updates, len(bullets))
}
