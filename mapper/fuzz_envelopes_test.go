package mapper_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"membersync/mapper"
)

// fuzzFile maps what the fuzzer makes of the cases of one file of the corpus, and holds the results
// to what the record states.
func fuzzFile(f *testing.F, name string) {
	f.Helper()
	file := corpus(f)[name]
	for i := range file.Cases {
		rec := file.Cases[i].record(f, file)
		for _, h := range append(rec.Headers, mapper.Header{}) {
			f.Add(rec.Value, rec.Key, h.Key, h.Value)
		}
	}
	m := file.mapped
	given := file.given(f)
	f.Fuzz(func(t *testing.T, value, key []byte, header string, headerValue []byte) {
		rec := record(string(value))
		rec.Key = key
		for name, value := range file.Headers {
			rec.Headers = append(rec.Headers, mapper.Header{Key: name, Value: []byte(value)})
		}
		rec.Headers = append(rec.Headers,
			mapper.Header{Key: header, Value: headerValue}, mapper.Header{Key: "id", Value: headerValue}, mapper.Header{Key: "version", Value: headerValue},
			mapper.Header{Key: "ce_id", Value: headerValue}, mapper.Header{Key: "ce_source", Value: key}, mapper.Header{Key: "ce_time", Value: []byte("2026-11-22T08:00:00Z")})
		judgeRun(t, file, m, rec, given)
	})
}

// judgeRun maps a record in every way there is.
func judgeRun(t *testing.T, file *corpusFile, m *mapper.Mapping, rec mapper.Record, given *grant) {
	t.Helper()
	input := string(rec.Value)
	results := file.run(m, rec)
	judgeRecord(t, rec, results, given)
	if again := file.run(m, rec); !reflect.DeepEqual(results, again) {
		t.Fatalf("two results for one record: %+v and %+v", results, again)
	}
	if string(rec.Value) != input {
		t.Fatal("the input was changed")
	}
	for _, r := range results {
		if line := r.AppendMapJSON(nil); !json.Valid(line) {
			t.Fatalf("not JSON: %s", line)
		}
	}
	explanations := m.Explain(rec, file.found(m, rec))
	if len(explanations) != len(results) || told(explanations[0].Result) != told(results[0]) {
		t.Fatalf("explained as %+v, mapped as %+v", explanations[0].Result, results[0])
	}
	if masked := m.Mask(rec); masked != nil && !json.Valid(masked) {
		t.Fatalf("the mask is not JSON: %s", masked)
	}
}

func FuzzPlain(f *testing.F)        { fuzzFile(f, "states") }
func FuzzPeople(f *testing.F)       { fuzzFile(f, "people") }
func FuzzDates(f *testing.F)        { fuzzFile(f, "dates") }
func FuzzUnits(f *testing.F)        { fuzzFile(f, "units") }
func FuzzCloudEvents(f *testing.F)  { fuzzFile(f, "cloudevents") }
func FuzzDebezium(f *testing.F)     { fuzzFile(f, "debezium") }
func FuzzDebeziumFlat(f *testing.F) { fuzzFile(f, "flat") }
func FuzzList(f *testing.F)         { fuzzFile(f, "several") }
func FuzzPairs(f *testing.F)        { fuzzFile(f, "pairs") }
func FuzzWebhooks(f *testing.F)     { fuzzFile(f, "webhooks") }
func FuzzConcat(f *testing.F)       { fuzzFile(f, "concat") }
func FuzzMongo(f *testing.F)        { fuzzFile(f, "mongo") }
func FuzzObjectPairs(f *testing.F)  { fuzzFile(f, "objectpairs") }
func FuzzTextPairs(f *testing.F)    { fuzzFile(f, "oracle-hcm") }
func FuzzCanal(f *testing.F)        { fuzzFile(f, "canal") }
func FuzzMaxwell(f *testing.F)      { fuzzFile(f, "mysql") }
func FuzzFeishu(f *testing.F)       { fuzzFile(f, "feishu") }

// FuzzParse reads what the fuzzer makes of mapping files, and maps an event with those that are
// right.
func FuzzParse(f *testing.F) {
	for _, name := range mapper.Builtins() {
		f.Add(mapper.BuiltinFile(name))
	}
	f.Add(readFile(f, "annotated.yaml"))
	for _, file := range corpus(f) {
		f.Add([]byte(file.Mapping))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := mapper.Parse("m", text, mapper.Options{})
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without a text")
			}
			return
		}
		m.RunExamples()
		if len(m.Map(record(typical()))) == 0 {
			t.Fatal("no result")
		}
	})
}

func FuzzParseCSV(f *testing.F) {
	f.Add([]byte("a,b\n1,x\n"), "a", "b")
	f.Add([]byte("\xef\xbb\xbfa,b\r\n\"1\",\"x,y\"\r\n"), "", "")
	f.Fuzz(func(t *testing.T, text []byte, key, value string) {
		table, err := mapper.ParseCSV(text, key, value)
		if (table == nil) == (err == nil) {
			t.Fatal(table, err)
		}
	})
}

// TestMutatedCorpus maps the corpus cut off at every byte, or with one byte taken out, doubled or
// changed.
func TestMutatedCorpus(t *testing.T) {
	t.Parallel()
	for name, file := range corpus(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			given := file.given(t)
			for i := range file.Cases {
				c := &file.Cases[i]
				m, rec := file.mapping(t, c), c.record(t, file)
				judgeRecord(t, rec, file.run(m, rec), given)
				for n := range rec.Value {
					changed := rec
					changed.Value = mutant(rec.Value, n, i+n)
					judgeRecord(t, changed, file.run(m, changed), given)
				}
			}
		})
	}
}

// mutant changes a value at byte n, in the way that kind says.
func mutant(value []byte, n, kind int) []byte {
	switch kind % 4 {
	case 0:
		return value[:n]
	case 1:
		return slices.Concat(value[:n], value[n+1:])
	case 2:
		return slices.Concat(value[:n+1], value[n:])
	}
	return slices.Concat(value[:n], []byte{value[n] ^ byte(1<<(n%8))}, value[n+1:])
}
