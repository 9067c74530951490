package corpus_test

import (
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"go.yaml.in/yaml/v3"
)

const mapperDir = "../../../../mapper"

// A source is one file of the corpus: a mapping, its lookups, and the records of its cases.
type source struct {
	name, setting string // setting is the name of the built-in mapping or the path of a file
	mapping       []byte
	lookups       map[string]map[string]string
	records       []kafka.Message
}

// A corpusFile is the content of a file.
type corpusFile struct {
	Builtin, File, Mapping, Template string
	Lookups                          map[string]map[string]string
	Headers                          map[string]string
	Cases                            []struct {
		Value, Base64, Framed string
		Event, Key            *string
		FramedKey             string `yaml:"framed_key"`
		Tombstone             bool
		Headers               map[string]string
	}
}

// corpus reads all files.
func corpus(t *testing.T) (sources []*source) {
	t.Helper()
	paths, err := filepath.Glob(mapperDir + "/testdata/corpus/*.yaml")
	if err != nil || len(paths) < 15 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		var f corpusFile
		if err := yaml.Unmarshal(read(t, path), &f); err != nil {
			t.Fatal(path, err)
		}
		s := &source{name: strings.TrimSuffix(filepath.Base(path), ".yaml"), lookups: f.Lookups, mapping: []byte(f.Mapping)}
		s.setting = s.name + ".yaml"
		switch {
		case f.Builtin != "":
			s.setting, s.mapping = f.Builtin, read(t, mapperDir+"/builtin/"+f.Builtin+".yaml")
		case f.File != "":
			s.mapping = read(t, filepath.Join(mapperDir, f.File))
		}
		s.records = f.messages(t)
		sources = append(sources, s)
	}
	return sources
}

func unmarshal(t *testing.T, text []byte, to any) {
	t.Helper()
	if err := yaml.Unmarshal(text, to); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path) //nolint:gosec // of the repository
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (f *corpusFile) messages(t *testing.T) (all []kafka.Message) {
	t.Helper()
	for _, c := range f.Cases {
		m := kafka.Message{Value: []byte(c.Value)}
		switch {
		case c.Event != nil:
			m.Value = []byte(strings.Replace(f.Template, "$", *c.Event, 1))
		case c.Base64 != "":
			value, err := base64.StdEncoding.DecodeString(c.Base64)
			if err != nil {
				t.Fatal(err)
			}
			m.Value = value
		case c.Framed != "":
			m.Value = []byte("\x01" + strings.Repeat("\xfe", 16) + c.Framed)
		case c.Tombstone:
			m.Value = nil
		}
		if c.FramedKey != "" {
			m.Key = []byte("\x00\xff\xff\xff\x07" + c.FramedKey)
		}
		if c.Key != nil {
			m.Key = []byte(*c.Key)
		}
		headers := maps.Clone(f.Headers)
		if headers == nil {
			headers = map[string]string{}
		}
		maps.Copy(headers, c.Headers)
		for _, name := range slices.Sorted(maps.Keys(headers)) {
			m.Headers = append(m.Headers, kafka.Header{Key: name, Value: []byte(headers[name])})
		}
		all = append(all, m)
	}
	return all
}
