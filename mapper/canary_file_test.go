package mapper_test

import (
	"bytes"
	"strings"
	"testing"

	"membersync/mapper"
)

// TestFaultsOfFilesRepeatNoValue puts canaries in place of every value of the corpus, and looks for
// them in all that a fault shows. Names that only the payload has are canaries too.
func TestFaultsOfFilesRepeatNoValue(t *testing.T) {
	t.Parallel()
	rejected := 0
	for name, file := range corpus(t) {
		for i := range file.Cases {
			c := &file.Cases[i]
			m, rec := file.mapping(t, c), c.record(t, file)
			for _, value := range poisoned(rec.Value) {
				changed := rec
				changed.Value = value
				for _, r := range file.run(m, changed) {
					if r.Fault == nil {
						continue
					}
					rejected++
					if text := r.Fault.Error() + r.Fault.Path; holdsCanary(text) {
						t.Fatalf("%s: %s: %s shows the canary of %s", name, c.Name, text, value)
					}
				}
			}
		}
	}
	if rejected < 2000 {
		t.Errorf("only %d values were rejected: the test does not test", rejected)
	}
}

// poisoned returns copies of a JSON text with canaries of several kinds in place of each text and
// number, and next to each member.
func poisoned(value []byte) (values [][]byte) {
	for i := 0; i < len(value); i++ {
		end := valueEnd(value, i)
		if end <= i {
			continue
		}
		for _, shape := range []string{`"` + canary + `"`, canaryNumber, `["` + canary + `",` + canaryNumber + `e99]`, `{"` + canary + `":1,"` + canary + `":2}`, `"` + canary + `*"`} {
			values = append(values, bytes.Join([][]byte{value[:i], []byte(shape), value[end:]}, nil))
		}
		i = end
	}
	return values
}

// valueEnd returns where the plain value ends that begins behind a colon, a bracket or a comma at
// i-1, and 0 if none does.
func valueEnd(value []byte, i int) int {
	if i == 0 || strings.IndexByte(":[,", value[i-1]) < 0 {
		return 0
	}
	switch c := value[i]; {
	case c == '"':
		if end := bytes.IndexByte(value[i+1:], '"'); end >= 0 && i+end+2 < len(value) && value[i+end+2] != ':' {
			return i + end + 2
		}
	case c >= '0' && c <= '9', c == '-', c == 't', c == 'f', c == 'n':
		if end := bytes.IndexAny(value[i:], ",]}"); end > 0 {
			return i + end
		}
	}
	return 0
}

// TestErrorsOfTablesRepeatNoValue does the same with CSV files.
func TestErrorsOfTablesRepeatNoValue(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"a,b\n" + canary + "\n", "a,b\n" + canary + ",1\n" + canary + ",2\n", "a,b\n\"" + canary + "\n", "a,b\n" + canary + "\"x,1\n", "a,b\n," + canary + "\n",
		"a,b\n" + canary + ",\n", "a,b\n" + canary + ",\xff\n", canary + ",b\n", canary,
	} {
		_, err := mapper.ParseCSV([]byte(text), "a", "b")
		if err == nil || holdsCanary(err.Error()) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
