package jsontree_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"membersync/mapper/internal/jsontree"
)

func read(tb testing.TB, text string) jsontree.Value {
	tb.Helper()
	v, err := new(jsontree.Tree).Read([]byte(text), 0)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func TestFind(t *testing.T) {
	t.Parallel()
	v := read(t, ` { "a" : [ 1 , {"b":"x\"]}"} , [] , -2.5e3 ] , "" : null, "c\u0064": true, "n\\u0061": {} } `)
	tests := []struct {
		name string
		got  jsontree.Value
		want string
	}{
		{"a number in a list", v.Member("a").Entry(0), "1"},
		{"a text with brackets", v.Member("a").Entry(1).Member("b"), `"x\"]}"`},
		{"an empty list", v.Member("a").Entry(2), "[]"},
		{"the last entry", v.Member("a").Entry(3), "-2.5e3"},
		{"behind the last entry", v.Member("a").Entry(4), ""},
		{"the empty name", v.Member(""), "null"},
		{"an escaped name", v.Member("cd"), "true"},
		{"an escaped name as it is spelled", v.Member(`c\u0064`), ""},
		{"a name with a backslash", v.Member(`n\u0061`), "{}"},
		{"a name of something else", v.Member("b"), ""},
		{"a member of a list", v.Member("a").Member("b"), ""},
		{"an entry of an object", v.Entry(0), ""},
		{"a member of what is absent", v.Member("x").Member("y"), ""},
	}
	for _, tt := range tests {
		if string(tt.got.Raw()) != tt.want || tt.got.Absent() != (tt.want == "") {
			t.Errorf("%s: %s, want %s", tt.name, tt.got.Raw(), tt.want)
		}
	}
	if text := v.Member("a").Entry(1).Member("b").Text(); text != `x"]}` {
		t.Errorf("the text is %s", text)
	}
	if v.Len() != 4 || v.Member("a").Len() != 4 || v.Member("a").Entry(2).Len() != 0 || v.Member("cd").Len() != 0 {
		t.Error("wrong lengths")
	}
}

func TestOffsets(t *testing.T) {
	t.Parallel()
	tree := new(jsontree.Tree)
	v, err := tree.Read([]byte(`{"a":1}`), 5)
	if err != nil || v.Member("a").Offset() != 10 || v.Member("b").Offset() != -1 {
		t.Error(err, v.Member("a").Offset())
	}
	v, err = tree.ReadInner([]byte(`{"a":1}`), 7)
	if err != nil || v.Member("a").Offset() != 7 {
		t.Error(err, v.Member("a").Offset())
	}
	if v := jsontree.OfText("a\"\u4e2d", -1); v.Text() != "a\"\u4e2d" || v.Offset() != -1 || !v.IsText() {
		t.Error(v.Text())
	}
	if v := jsontree.Null(3); !v.IsNull() || v.Offset() != 3 {
		t.Error(v.Raw())
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text    string
		problem jsontree.Problem
		offset  int
	}{
		{`{"a":1,"a":2}`, jsontree.Duplicate, 7},
		{`{"a":`, jsontree.CutOff, 5},
		{``, jsontree.CutOff, 0},
		{`{"a":x}`, jsontree.Syntax, 5},
		{`{} {}`, jsontree.Behind, 3},
		{"\"\xff\"", jsontree.NotUTF8, 1},
		{"{}\xff", jsontree.NotUTF8, 2},
		{strings.Repeat("[", 20000), jsontree.TooDeep, 10000},
	}
	for _, tt := range tests {
		_, err := new(jsontree.Tree).Read([]byte(tt.text), 100)
		wrong, ok := errors.AsType[*jsontree.Error](err)
		if !ok || wrong.Problem != tt.problem || wrong.Offset != 100+tt.offset || wrong.Error() == "" {
			t.Errorf("%.20s: %v %+v, want problem %d at %d", tt.text, err, wrong, tt.problem, 100+tt.offset)
		}
	}
}

// TestReuse: a tree that is used again finds nothing of the text before.
func TestReuse(t *testing.T) {
	t.Parallel()
	tree := new(jsontree.Tree)
	for _, text := range []string{`[[1,2],[3],{"a":{"b":[4]}}]`, `{"a":1}`, `7`, `[` + strings.Repeat("0,", 20000) + `0]`, `{"z":[]}`} {
		v, err := tree.Read([]byte(text), 0)
		if err != nil || string(v.Raw()) != text {
			t.Fatalf("%s: %v", v.Raw(), err)
		}
		if got := string(rebuilt(nil, v)); got != text {
			t.Errorf("%.50s became %.50s", text, got)
		}
		tree.Release()
	}
}

// rebuilt writes a value from what the tree finds.
func rebuilt(b []byte, v jsontree.Value) []byte {
	separator := ""
	switch {
	case v.IsObject():
		b = append(b, '{')
		for name, member := range v.Members() {
			b = append(append(append(b, separator...), jsontree.OfText(name, 0).Raw()...), ':')
			b, separator = rebuilt(b, member), ","
		}
		return append(b, '}')
	case v.IsList():
		b = append(b, '[')
		for entry := range v.Entries() {
			b, separator = rebuilt(append(b, separator...), entry), ","
		}
		return append(b, ']')
	}
	return append(b, v.Raw()...)
}

// FuzzTree holds the tree to encoding/json: what is read means the same, and nothing that
// encoding/json refuses is read.
func FuzzTree(f *testing.F) {
	for _, text := range []string{`{"a":[1,{"b":"x\"]}"},[]],"":null}`, `[[],{},"\u0000",1e5,true]`, ` 1 `, `{"a":1}x`, `"\ud800"`, `{"a":1,"\u0061":2}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := new(jsontree.Tree).Read(text, 0)
		if err != nil {
			return
		}
		want, got := plain(t, text), plain(t, rebuilt(nil, v))
		if want != got {
			t.Fatalf("%s was read as %s", want, got)
		}
	})
}

func plain(t *testing.T, text []byte) string {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("read what encoding/json refuses: %v", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		t.Fatal("read what goes on")
	}
	again, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(again)
}
