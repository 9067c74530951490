package mapper_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/mapper"
)

// fromFile is a built-in mapping read from its file.
func fromFile(tb testing.TB, name string, opts mapper.Options) *mapper.Mapping {
	tb.Helper()
	m, err := mapper.Parse(name, mapper.BuiltinFile(name), opts)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// agreed is what the reader of the canonical event and its mapping file must agree on. The
// texts of faults and the places of malformed ones may differ: of a text with something
// behind it, one says that it is no object, the other that something is behind it.
type agreed struct {
	Event  mapper.Event
	Reason mapper.Reason
	Whole  bool
	Path   string
	Offset int64
}

func agreedOf(r mapper.Result) agreed {
	a := agreed{Event: r.Event}
	if f := r.Fault; f != nil {
		a.Reason, a.Whole = f.Reason, f.Whole
		if f.Reason != mapper.Malformed {
			a.Path, a.Offset = f.Path, f.Offset
		}
	}
	return a
}

// agree demands that both forms of a built-in mapping say the same of a value.
func agree(t *testing.T, reader, file *mapper.Mapping, value string) {
	t.Helper()
	want, got := agreedOf(only(t, reader, record(value))), agreedOf(only(t, file, record(value)))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%.300s\n(-reader +file):\n%s", value, diff)
	}
}

// TestReaderAgreesWithFile holds the reader of the canonical event to the mapping file that says
// the same.
func TestReaderAgreesWithFile(t *testing.T) {
	t.Parallel()
	values := append(spoiled(), typical())
	for _, states := range []string{
		`"after":null`, `"before":{},"after":null`, `"before":null,"after":null`, `"before":7,"after":{}`, `"after":7`, `"before":{"qq":"1"}`,
		`"after":{"email":null,"qq":"","attachingDepartmentIds":[]}`, `"before":{"email":""},"after":{"email":null}`,
		`"before":{"attachingDepartmentIds":null},"after":{"attachingDepartmentIds":[]}`, `"after":{"birthDate":null}`, `"after":{"mobile":""}`,
		`"after":{"hireDate":"2023-03-16","birthDate":-1e3,"startWorkDate":"2023-03-16T00:00:00.5+08:00"}`,
		`"after":{"hireDate":"2023-03-16 00:00:00"}`, `"after":{"hireDate":"1e3"}`, `"after":{"hireDate":1.5}`, `"after":{"hireDate":99999999999999}`,
		`"before":{"mainDepartmentId":"1"},"after":{"mainDepartmentId":1.0}`, `"after":{"attachingDepartmentIds":["1",2,3e0]}`,
		`"before":{"gender":"x"},"after":{"gender":"M"}`, `"after":{"gender":"m"}`, `"after":{"gender":1}`, `"after":{"mobile":"1*"}`,
		`"after":{"name":"__debezium_unavailable_value"}`, `"after":{"position":[]}`, `"before":{"name":"\u0061"},"after":{"n\u0061me":"a"}`,
	} {
		values = append(values, envelope(states))
	}
	for _, name := range []string{"canonical", "canonical-time"} {
		reader, file := builtin(t, name, options()), fromFile(t, name, options())
		for _, value := range values {
			agree(t, reader, file, value)
		}
	}
}

// FuzzReaderAgreesWithFile does the same with what the fuzzer comes up with.
func FuzzReaderAgreesWithFile(f *testing.F) {
	for _, value := range append(spoiled()[:200], typical(), envelope(`"before":{"email":""},"after":{"email":null,"hireDate":"2023-03-16"}`)) {
		f.Add(value)
	}
	reader, file := builtin(f, "canonical", options()), fromFile(f, "canonical", options())
	byTime, timeFile := builtin(f, "canonical-time", options()), fromFile(f, "canonical-time", options())
	f.Fuzz(func(t *testing.T, value string) {
		agree(t, reader, file, value)
		agree(t, byTime, timeFile, value)
	})
}
