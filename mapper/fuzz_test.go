package mapper_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"membersync/crmapi"
	"membersync/mapper"
)

// FuzzMap holds every result against the input as encoding/json reads it: all that is
// sent stands in after, and nothing that is the same in before is sent.
func FuzzMap(f *testing.F) {
	for _, states := range []string{
		`"before":{"name":"a","gender":"M"},"after":{"name":"b","gender":"F","mobile":"00000000001"}`,
		`"before":null,"after":{"hireDate":"2023-03-16","birthDate":-1e3,"startWorkDate":"2023-03-16T00:00:00.5Z"}`,
		`"after":{"mainDepartmentId":"1000","attachingDepartmentIds":[1,"2",3.0]},"x":[{"y":null}]`,
		`"before":{"email":"a"},"after":{"email":null,"qq":"","attachingDepartmentIds":null}`,
		`"before":{},"after":null`,
		`"after":{"n\u0061me":"\ud83d\ude00\u0000"}`,
	} {
		f.Add([]byte(envelope(states)))
	}
	f.Add([]byte(envelope(`"after":{"position":{"scale":1,"value":"J0I="},"mainDepartmentId":{"scale":-1,"value":"AQ=="},"hireDate":"2023-03-16Z","birthDate":"2023-03-16+09:00"}`)))
	f.Add([]byte(envelope(`"after":{"id":"E1"}`)))
	f.Add([]byte("\x00\x00\x00\x00\x01{}"))
	f.Add([]byte(`{"EventId":1,"eventId":1,"eventId":2}`))
	bySequence, byTime := builtin(f, "canonical", options()), builtin(f, "canonical-time", options())
	f.Fuzz(func(t *testing.T, value []byte) {
		input := bytes.Clone(value)
		for _, m := range []*mapper.Mapping{bySequence, byTime} {
			got := only(t, m, record(string(value)))
			if again := only(t, m, mapper.Record{Topic: "in", Partition: 3, Offset: 41, Time: recordTime(), Value: value}); !reflect.DeepEqual(got, again) {
				t.Fatalf("two results for one record: %+v and %+v", got, again)
			}
			if !bytes.Equal(value, input) {
				t.Fatal("the input was changed")
			}
			if line := got.AppendMapJSON(nil); !json.Valid(line) {
				t.Fatalf("not JSON: %s", line)
			}
			if got.Fault == nil {
				judgeAccepted(t, value, got.Event)
			} else if got.Event.Update.Len() != 0 || got.Fault.Text == "" || got.Fault.Offset > int64(len(value)) {
				t.Fatalf("fault %+v of %+v", got.Fault, got.Event)
			}
		}
	})
}

// judgeAccepted is an oracle that shares no code with the mapper.
func judgeAccepted(t *testing.T, value []byte, e mapper.Event) {
	t.Helper()
	input := decode(t, value)
	if e.ID == "" || e.EmployeeID == "" || e.OpenUserID == "" || len(e.Version) != 64 || e.Update.OpenUserID != e.OpenUserID && e.Ignored == "" {
		t.Fatalf("accepted without an identity: %+v", e)
	}
	if _, ok := input["after"]; !ok {
		t.Fatal("accepted without after")
	}
	after, _ := input["after"].(map[string]any)
	before, _ := input["before"].(map[string]any)
	sent := decode(t, e.Update.AppendJSON(nil))
	delete(sent, "openUserId")
	for name, v := range sent {
		stated, ok := after[name]
		if !ok || !derives(name, v, stated) {
			t.Fatalf("%s is sent as %v, after is %v (%t)", name, v, stated, ok)
		}
		if old, ok := before[name]; ok && reflect.DeepEqual(old, stated) {
			t.Fatalf("%s is sent and did not change", name)
		}
	}
}

func decode(t *testing.T, text []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("accepted what encoding/json refuses: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		t.Fatal("accepted what goes on after the object")
	}
	return v
}

// derives reports whether a sent value is what the stated one means.
func derives(name string, sent, stated any) bool {
	number, isBytes := fromBytes(stated)
	if isBytes {
		stated = number
	}
	if stated == nil || stated == "" {
		list, isList := sent.([]any)
		return sent == "" || isList && len(list) == 0
	}
	field, _ := crmapi.ParseField(name)
	switch {
	case field == crmapi.HireDate || field == crmapi.BirthDate || field == crmapi.StartWorkDate:
		return sameInstant(sent, stated)
	case field.Kind() == crmapi.KindInt:
		return sameNumber(sent, stated)
	case field.Kind() == crmapi.KindInts:
		return sameNumbers(sent, stated)
	case field == crmapi.Gender && sent != "M" && sent != "F":
		return false
	}
	if isBytes {
		a, okA := new(big.Rat).SetString(text(sent))
		b, okB := new(big.Rat).SetString(text(stated))
		return okA && okB && a.Cmp(b) == 0
	}
	return sent == stated
}

func sameNumbers(sent, stated any) bool {
	a, _ := sent.([]any)
	b, ok := stated.([]any)
	if !ok || len(a) != len(b) || len(a) > 500 {
		return false
	}
	for i := range a {
		if !sameNumber(a[i], b[i]) || strings.HasPrefix(text(a[i]), "-") {
			return false
		}
	}
	return true
}

func sameNumber(sent, stated any) bool {
	a, okA := new(big.Rat).SetString(text(sent))
	b, okB := new(big.Rat).SetString(text(stated))
	return okA && okB && a.IsInt() && a.Cmp(b) == 0
}

func sameInstant(sent, stated any) bool {
	if s, ok := stated.(string); ok {
		zone := time.FixedZone("", 8*3600)
		if len(s) == len("2006-01-02Z") {
			s = strings.TrimSuffix(s, "Z") // Debezium's isostring: a day without a zone
		}
		for _, layout := range []string{time.RFC3339Nano, time.DateOnly, "2006-01-02Z07:00"} {
			if at, err := time.ParseInLocation(layout, s, zone); err == nil {
				return sent == strconv.FormatInt(at.UnixMilli(), 10)
			}
		}
	}
	return sameNumber(sent, stated)
}

// fromBytes reads a number that Debezium wrote as a scale and bytes.
func fromBytes(stated any) (json.Number, bool) {
	object, _ := stated.(map[string]any)
	encoded, _ := object["value"].(string)
	scale, err := strconv.Atoi(text(object["scale"]))
	b, wrong := base64.StdEncoding.DecodeString(encoded)
	if err != nil || wrong != nil || len(object) != 2 || len(b) == 0 || scale < -64 || scale > 64 {
		return "", false
	}
	n := new(big.Int).SetBytes(b)
	if b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return json.Number(n.String() + "e" + strconv.Itoa(-scale)), true
}

func text(v any) string {
	switch v := v.(type) {
	case json.Number:
		return v.String()
	case string:
		return v
	}
	return "neither"
}
