package crmapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"membersync/crmapi"
)

func TestFields(t *testing.T) {
	t.Parallel()
	var names []string
	for f := range crmapi.Field(crmapi.NumFields) {
		names = append(names, f.String())
		if back, ok := crmapi.ParseField(f.String()); !ok || back != f {
			t.Errorf("ParseField(%q) = %v, %v", f.String(), back, ok)
		}
	}
	want := strings.Fields("account name fullName position gender mobile email qq weixin mainDepartmentId " +
		"attachingDepartmentIds employeeNumber hireDate birthDate startWorkDate leaderId")
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"", "openUserId", "Account", "unknown"} {
		if _, ok := crmapi.ParseField(name); ok {
			t.Errorf("ParseField(%q) finds a field", name)
		}
	}
	if got := crmapi.Field(99).String(); got != "unknown" {
		t.Errorf("Field(99) = %q", got)
	}
}

func TestUpdateJSON(t *testing.T) {
	t.Parallel()
	empty := crmapi.Update{OpenUserID: member}
	for _, tt := range []struct {
		update crmapi.Update
		want   string
	}{
		{empty, `{"openUserId":"FSUID_TEST0001"}`},
		{empty.With(crmapi.Email, crmapi.Text("")), `{"openUserId":"FSUID_TEST0001","email":""}`},
		{
			empty.With(crmapi.AttachingDepartmentIDs, crmapi.Ints(nil)),
			`{"openUserId":"FSUID_TEST0001","attachingDepartmentIds":[]}`,
		},
		{
			empty.With(crmapi.AttachingDepartmentIDs, crmapi.Ints([]int64{1, 1 << 60})).
				With(crmapi.MainDepartmentID, crmapi.Int(0)).With(crmapi.HireDate, crmapi.Text("-1")).
				With(crmapi.Name, crmapi.Text("<a> & \"b\" \u540d\u2028")),
			`{"openUserId":"FSUID_TEST0001","name":"<a> & \"b\" ` + "\u540d" + `\u2028","mainDepartmentId":0,` +
				`"attachingDepartmentIds":[1,1152921504606846976],"hireDate":"-1"}`,
		},
	} {
		got, err := json.Marshal(tt.update)
		if err != nil || !json.Valid(tt.update.AppendJSON(nil)) {
			t.Fatal(string(got), err)
		}
		if diff := cmp.Diff(tt.want, string(tt.update.AppendJSON(nil))); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWithWrongKind(t *testing.T) {
	t.Parallel()
	for _, f := range []func(){
		func() { crmapi.Update{}.With(crmapi.Mobile, crmapi.Int(1)) },
		func() { crmapi.Update{}.With(crmapi.MainDepartmentID, crmapi.Text("1")) },
		func() { crmapi.Update{}.With(crmapi.Field(99), crmapi.Text("1")) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("want a panic")
				}
			}()
			f()
		}()
	}
}

func allFields() []crmapi.Field {
	var all []crmapi.Field
	for f := range crmapi.Field(crmapi.NumFields) {
		all = append(all, f)
	}
	return all
}

func drawValue(t *rapid.T, f crmapi.Field) crmapi.Value {
	switch f.Kind() {
	case crmapi.KindInt:
		return crmapi.Int(rapid.Int64().Draw(t, "int"))
	case crmapi.KindInts:
		return crmapi.Ints(rapid.SliceOfN(rapid.Int64(), 0, 5).Draw(t, "ints"))
	case crmapi.KindText:
	}
	return crmapi.Text(rapid.String().Draw(t, "text"))
}

// content returns the JSON of a value.
func content(v crmapi.Value) string { return string(v.AppendJSON(nil)) }

// TestUpdateBehavesLikeAMap applies the same steps to an update and to a map, and compares them.
func TestUpdateBehavesLikeAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		u, model := crmapi.Update{OpenUserID: rapid.String().Draw(t, "id")}, map[string]string{}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			before, beforeModel := u, maps.Clone(model)
			f := rapid.SampledFrom(allFields()).Draw(t, "field")
			if rapid.Bool().Draw(t, "set") {
				v := drawValue(t, f)
				u, model[f.String()] = u.With(f, v), content(v)
			} else {
				u = u.Without(f)
				delete(model, f.String())
			}
			checkUpdate(t, u, model)
			checkUpdate(t, before, beforeModel) // a step changes a copy
		}
	})
}

func checkUpdate(t *rapid.T, u crmapi.Update, model map[string]string) {
	if u.Len() != len(model) {
		t.Fatalf("Len() = %d, want %d", u.Len(), len(model))
	}
	last := -1
	for f, v := range u.All() {
		if got, ok := u.Get(f); !ok || !got.Equal(v) || content(v) != model[f.String()] || int(f) <= last {
			t.Fatalf("field %s after %d: %v, %v", f, last, got, ok)
		}
		last = int(f)
	}
	var back map[string]json.RawMessage
	if err := json.Unmarshal(u.AppendJSON(nil), &back); err != nil {
		t.Fatal(err)
	}
	var id string
	if err := json.Unmarshal(back["openUserId"], &id); err != nil || id != u.OpenUserID {
		t.Fatalf("openUserId %q, want %q", id, u.OpenUserID)
	}
	delete(back, "openUserId")
	got := make(map[string]string, len(back))
	for name, value := range back {
		got[name] = string(value)
	}
	if diff := cmp.Diff(model, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestUpdateEqual(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var a, b crmapi.Update
		fields := allFields()
		values := make(map[crmapi.Field]crmapi.Value)
		for _, f := range rapid.Permutation(fields).Draw(t, "order") {
			values[f] = drawValue(t, f)
			a = a.With(f, values[f])
		}
		for _, f := range rapid.Permutation(fields).Draw(t, "other order") {
			b = b.With(f, values[f])
		}
		if !a.Equal(b) || !b.Equal(a) {
			t.Fatal("updates with the same fields are not equal")
		}
		f := rapid.SampledFrom(fields).Draw(t, "one")
		if a.Equal(b.Without(f)) || a.Equal(crmapi.Update{OpenUserID: "x"}) {
			t.Fatal("different updates are equal")
		}
	})
}

func TestValues(t *testing.T) {
	t.Parallel()
	list := []int64{1, 2}
	v := crmapi.Ints(list)
	list[0] = 9
	if content(v) != "[1,2]" {
		t.Errorf("a list is not copied: %s", content(v))
	}
	for _, tt := range []struct {
		value crmapi.Value
		empty bool
		kind  crmapi.Kind
	}{
		{crmapi.Text(""), true, crmapi.KindText},
		{crmapi.Text("x"), false, crmapi.KindText},
		{crmapi.Int(0), false, crmapi.KindInt},
		{crmapi.Ints(nil), true, crmapi.KindInts},
		{crmapi.Ints([]int64{0}), false, crmapi.KindInts},
	} {
		if tt.value.IsEmpty() != tt.empty || tt.value.Kind() != tt.kind {
			t.Errorf("%s: IsEmpty %v, Kind %v", content(tt.value), tt.value.IsEmpty(), tt.value.Kind())
		}
	}
	if crmapi.Int(1).Equal(crmapi.Ints([]int64{1})) || crmapi.Text("").Equal(crmapi.Ints(nil)) {
		t.Error("values of different kinds are equal")
	}
}

func TestUpdateShowsNoValue(t *testing.T) {
	t.Parallel()
	const canary = "CANARY_VALUE"
	u := sample().With(crmapi.FullName, crmapi.Text(canary)).With(crmapi.MainDepartmentID, crmapi.Int(7654321))
	v, _ := u.Get(crmapi.FullName)
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.LogAttrs(t.Context(), slog.LevelInfo, "test", slog.Any("update", u), slog.Any("value", v))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&log, verb+verb, u, v)
	}
	if text := log.String(); strings.Contains(text, canary) || strings.Contains(text, "7654321") || !strings.Contains(text, "fullName") {
		t.Error(text)
	}
}

// What With has set is there in whatever order it was set, also texts whose length needs two bytes.
func TestPackedUpdateIsTheUpdate(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 70_000)
	values := map[crmapi.Field]crmapi.Value{
		crmapi.Name: crmapi.Text(long), crmapi.Position: crmapi.Text(""), crmapi.Email: crmapi.Text(long[:128]),
		crmapi.MainDepartmentID: crmapi.Int(-9_007_199_254_740_993), crmapi.AttachingDepartmentIDs: crmapi.Ints(nil),
	}
	for range 20 { // the order of a map is drawn
		u := crmapi.Update{OpenUserID: "FSUID_TEST0001"}
		for f, v := range values {
			u = u.With(f, v).With(f, v)
		}
		u = crmapi.Unpack(u.OpenUserID, u.Pack())
		if u.Len() != len(values) {
			t.Fatalf("%d fields, want %d", u.Len(), len(values))
		}
		last := crmapi.Field(0)
		for f, v := range u.All() {
			if f < last || !v.Equal(values[f]) {
				t.Errorf("field %s is out of order, or has another value", f)
			}
			last = f
		}
		for f := range values {
			without := u.Without(f)
			if _, ok := without.Get(f); ok || without.Len() != len(values)-1 || !without.With(f, values[f]).Equal(u) {
				t.Errorf("without %s", f)
			}
		}
	}
}
