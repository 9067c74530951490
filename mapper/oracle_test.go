package mapper_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"membersync/crmapi"
	"membersync/mapper"
)

// A statement of an oracle is everything that a record states, as plain values: its JSON as
// encoding/json reads it, whatever JSON its texts hold, the key and the headers. It shares no code
// with the mapper.
type statement struct {
	texts   []string
	numbers []string
	values  map[string]bool // of the numbers, as exact fractions; nil until one is looked for
	given   *grant
}

func stated(rec mapper.Record, given *grant) *statement {
	s := &statement{texts: slices.Clone(given.values), given: given}
	for _, skip := range []int{0, 5, 17} {
		if len(rec.Value) > skip {
			s.bytes(rec.Value[skip:])
		}
	}
	s.text(string(rec.Key))
	for _, h := range rec.Headers {
		s.text(string(h.Value))
	}
	return s
}

func (s *statement) bytes(text []byte) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) == nil {
		s.value(v)
	}
}

func (s *statement) text(text string) {
	s.texts = append(s.texts, text)
	if strings.ContainsAny(text, `{["`) {
		s.bytes([]byte(text))
	}
	if decoded, err := base64.StdEncoding.DecodeString(text); err == nil && bytes.ContainsAny(decoded, `{["`) {
		s.bytes(decoded)
	}
}

func (s *statement) value(v any) {
	switch v := v.(type) {
	case string:
		s.text(v)
	case json.Number:
		s.numbers = append(s.numbers, v.String())
	case []any:
		for _, entry := range v {
			s.value(entry)
		}
	case map[string]any:
		for _, member := range v {
			s.value(member)
		}
	}
}

// holds reports whether a sent value is what some stated value means.
func (s *statement) holds(f crmapi.Field, v crmapi.Value) bool {
	sent := string(v.AppendJSON(nil))
	if v.IsEmpty() {
		return true // which fields may be cleared is for the corpus
	}
	var text string
	if v.Kind() == crmapi.KindText && json.Unmarshal([]byte(sent), &text) != nil {
		return false
	}
	switch {
	case v.Kind() == crmapi.KindInt:
		return s.number(sent)
	case v.Kind() == crmapi.KindInts:
		return !slices.ContainsFunc(strings.Split(strings.Trim(sent, "[]"), ","), func(n string) bool { return !s.number(n) })
	case f == crmapi.Gender:
		return s.gender(text)
	case f == crmapi.HireDate || f == crmapi.BirthDate || f == crmapi.StartWorkDate:
		return s.instant(text)
	case f == crmapi.Mobile:
		return !strings.ContainsAny(text, "*xX") && (s.digits(strings.TrimPrefix(text, "+")) || s.put(text))
	}
	return s.put(text)
}

// number finds an integer among the numbers, the texts and the pieces of the texts.
func (s *statement) number(n string) bool {
	want, ok := new(big.Rat).SetString(n)
	if !ok {
		return false
	}
	if s.values == nil {
		s.values = map[string]bool{}
		for _, text := range s.numbers {
			if v, ok := fraction(text); ok {
				s.values[v] = true
			}
		}
	}
	return s.values[want.RatString()] || slices.ContainsFunc(append(s.texts, s.numbers...), func(text string) bool {
		return slices.Contains(strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(s.given.separators, r) || unicode.IsSpace(r) }), n)
	})
}

// fraction returns the exact value of a number, unless it is long.
func fraction(text string) (string, bool) {
	if len(text) > 40 {
		return "", false
	}
	if e := strings.IndexAny(text, "eE"); e >= 0 {
		if n, err := strconv.Atoi(text[e+1:]); err != nil || n > 100 || n < -100 {
			return "", false
		}
	}
	v, ok := new(big.Rat).SetString(text)
	if !ok {
		return "", false
	}
	return v.RatString(), true
}

func (s *statement) gender(sent string) bool {
	known := map[string][]string{"M": {"M", "m", "male", "Male", "MALE", "man", "男", "男性"}, "F": {"F", "f", "female", "Female", "FEMALE", "woman", "女", "女性"}}[sent]
	known = append(known, map[string][]string{"M": s.given.male, "F": s.given.female}[sent]...)
	code := map[string]string{"M": "1", "F": "2"}[sent]
	return s.number(code) || slices.ContainsFunc(s.texts, func(text string) bool {
		text = strings.TrimSpace(norm.NFKC.String(text))
		return slices.Contains(known, text) || text == code
	})
}

// digits finds the digits of a phone in some text or number, which may have a country before them.
func (s *statement) digits(sent string) bool {
	return s.number(sent) || slices.ContainsFunc(s.texts, func(text string) bool {
		only := strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, norm.NFKC.String(text))
		return only == sent || slices.ContainsFunc(s.given.countries, func(code string) bool { return only == code+sent || only == "00"+code+sent })
	})
}

// put finds a text, tidied, or put together from stated ones.
func (s *statement) put(sent string) bool {
	isSame := func(text string) bool {
		for _, form := range []string{text, norm.NFC.String(text), norm.NFKC.String(text)} {
			if form == sent || strings.TrimSpace(form) == sent {
				return true
			}
		}
		return false
	}
	if slices.ContainsFunc(s.texts, isSame) || s.number(sent) {
		return true
	}
	return slices.ContainsFunc(s.texts, func(first string) bool { // two parts, the first of which is stated
		forms := []string{first, norm.NFC.String(first), norm.NFKC.String(first)}
		for _, form := range append(forms, strings.TrimSpace(forms[0]), strings.TrimSpace(forms[1]), strings.TrimSpace(forms[2])) {
			rest, ok := strings.CutPrefix(sent, form)
			if ok && form != "" && rest != "" && s.put2(strings.TrimLeft(rest[:1], s.given.joints)+rest[1:]) {
				return true
			}
		}
		return false
	})
}

// put2 finds the second part.
func (s *statement) put2(sent string) bool {
	return s.number(sent) || slices.ContainsFunc(s.texts, func(text string) bool {
		for _, form := range []string{text, norm.NFC.String(text), norm.NFKC.String(text)} {
			if strings.TrimSpace(form) == sent || form == sent {
				return true
			}
		}
		return false
	})
}

// instant finds a time in any encoding that some mapping of the corpus reads.
func (s *statement) instant(sent string) bool {
	want, err := strconv.ParseInt(sent, 10, 64)
	if err != nil {
		return false
	}
	for _, name := range s.given.zones {
		zone, err := time.LoadLocation(name)
		if err != nil {
			return false
		}
		for _, text := range append(s.texts, s.numbers...) {
			if slices.Contains(instants(strings.TrimSpace(norm.NFKC.String(text)), zone), want) {
				return true
			}
		}
	}
	return false
}

// instants are all that a text could mean, in epoch milliseconds.
func instants(text string, zone *time.Location) (ms []int64) {
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z0700", "2006-01-02 15:04:05 Z0700", "2006-01-02T15:04:05Z07", "2006-01-02 15:04:05 Z07",
		"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02T15:04:05 Z07", "2006-01-02T15:04:05 Z0700", "2006-01-02T15:04:05 Z07:00",
		"2006-01-02T15:04Z0700", "2006-01-02T15:04Z07:00", "2006-01-02T15:04Z07", "2006-01-02 15:04Z0700", "2006-01-02 15:04Z07:00", "2006-01-02 15:04Z07",
		"2006-01-02T15:04 Z0700", "2006-01-02T15:04 Z07:00", "2006-01-02T15:04 Z07", "2006-01-02 15:04 Z0700", "2006-01-02 15:04 Z07:00", "2006-01-02 15:04 Z07",
		"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly, "20060102", "2006/1/2", "2006年1月2日",
	} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			ms = append(ms, t.UnixMilli())
		}
	}
	if inner, ok := strings.CutPrefix(text, "/Date("); ok {
		number, _, _ := strings.Cut(inner, ")")
		if sign := strings.LastIndexAny(number, "+-"); sign > 0 {
			number = number[:sign]
		}
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			ms = append(ms, n)
		}
	}
	return append(ms, counted(text, zone)...)
}

// counted are the meanings of a number since 1970, in every unit.
func counted(text string, zone *time.Location) (ms []int64) {
	if e := strings.IndexAny(text, "eE"); e >= 0 {
		if n, err := strconv.Atoi(text[e+1:]); err != nil || n > 40 || n < -40 {
			return nil
		}
	}
	number, ok := new(big.Rat).SetString(text)
	if !ok || len(text) > 60 || strings.ContainsAny(text, "/_xXbBoO") {
		return nil
	}
	for _, scale := range []int64{1, 1000, 1_000_000} { // to milliseconds from ms, us, ns
		ms = append(ms, wallAndReal(floor(new(big.Rat).Quo(number, new(big.Rat).SetInt64(scale))), zone)...)
	}
	ms = append(ms, wallAndReal(floor(new(big.Rat).Mul(number, new(big.Rat).SetInt64(1000))), zone)...)
	if days := floor(number); days > -4e6 && days < 4e6 {
		ms = append(ms, time.Date(1970, 1, 1+int(days), 0, 0, 0, 0, zone).UnixMilli())
	}
	return ms
}

func floor(r *big.Rat) int64 {
	n := new(big.Int).Div(r.Num(), r.Denom()) // Euclidean: towards minus infinity for a positive denominator
	return n.Int64()
}

func wallAndReal(ms int64, zone *time.Location) []int64 {
	t := time.UnixMilli(ms).UTC()
	return []int64{ms, time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone).UnixMilli()}
}

// judgeRecord holds the results of a record to what it states.
func judgeRecord(t *testing.T, rec mapper.Record, results []mapper.Result, given *grant) {
	t.Helper()
	if len(results) == 0 {
		t.Fatal("no result")
	}
	s := stated(rec, given)
	for _, r := range results {
		if r.Fault != nil {
			if r.Event.Update.Len() != 0 || r.Fault.Text == "" || r.Fault.Offset > int64(len(rec.Value)) {
				t.Fatalf("fault %+v of %+v", r.Fault, r.Event)
			}
			continue
		}
		for f, v := range r.Event.Update.All() {
			if !s.holds(f, v) {
				t.Fatalf("%s is sent as %s, and nothing states it", f, v.AppendJSON(nil))
			}
		}
		if r.Event.Ignored == "" && (r.Event.ID == "" || r.Event.EmployeeID == "" || r.Event.OpenUserID == "" || len(r.Event.Version) != 64) {
			t.Fatalf("accepted without an identity: %+v", r.Event)
		}
	}
}

// TestOracleRefuses shows that the oracle finds what nothing states.
func TestOracleRefuses(t *testing.T) {
	t.Parallel()
	s := stated(record(`{"a":"x","n":7,"d":"2023-03-16","inner":"{\"b\":[\"+86 000 0000 0001\"]}"}`), &grant{values: []string{"FSUID_TEST0002"}, male: []string{"x"}, countries: []string{"86"}, joints: " ", zones: []string{"Asia/Shanghai"}})
	tests := []struct {
		field crmapi.Field
		value crmapi.Value
		want  bool
	}{
		{crmapi.Name, crmapi.Text("x"), true},
		{crmapi.Name, crmapi.Text("y"), false},
		{crmapi.Name, crmapi.Text("inner"), false},
		{crmapi.LeaderID, crmapi.Text("FSUID_TEST0002"), true},
		{crmapi.LeaderID, crmapi.Text("FSUID_TEST0001"), false},
		{crmapi.MainDepartmentID, crmapi.Int(7), true},
		{crmapi.MainDepartmentID, crmapi.Int(8), false},
		{crmapi.AttachingDepartmentIDs, crmapi.Ints([]int64{7, 8}), false},
		{crmapi.Gender, crmapi.Text("M"), true},
		{crmapi.Gender, crmapi.Text("F"), false},
		{crmapi.Mobile, crmapi.Text("00000000001"), true},
		{crmapi.Mobile, crmapi.Text("0000000001"), false},
		{crmapi.HireDate, crmapi.Text("1678896000000"), true},
		{crmapi.HireDate, crmapi.Text("1678896000001"), false},
	}
	for _, tt := range tests {
		if got := s.holds(tt.field, tt.value); got != tt.want {
			t.Errorf("%s %s: %v, want %v", tt.field, tt.value.AppendJSON(nil), got, tt.want)
		}
	}
}
