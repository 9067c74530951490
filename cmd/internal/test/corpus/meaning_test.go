package corpus_test

import (
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

// allowed returns all values, as JSON, that may be sent for a field of a record.
func (r *rules) allowed(s *statement, f fieldRule) (values []string) {
	if f.constant != nil {
		return []string{quoted(*f.constant)}
	}
	var found []any
	for _, p := range f.paths {
		found = append(found, s.at(p)...)
	}
	if f.removed != nil {
		found = append(found, s.removals(f.removed)...)
	}
	if f.concat {
		return f.joined(s)
	}
	for _, v := range found {
		values = append(values, f.meanings(v)...)
	}
	if len(found) == 0 && f.clears["missing"] {
		values = append(values, f.cleared()...)
	}
	return values
}

// removals returns a null for each entry that reports the field as removed.
func (s *statement) removals(gone *removal) (nulls []any) {
	for _, entry := range s.at(gone.entries) {
		names, ops := walk(entry, gone.name.steps), walk(entry, gone.op.steps)
		if slices.Contains(names, any(gone.field)) && slices.ContainsFunc(ops, func(op any) bool {
			text, _ := op.(string)
			return slices.Contains(gone.words, text)
		}) {
			nulls = append(nulls, nil)
		}
	}
	return nulls
}

func (f *fieldRule) cleared() []string {
	if f.as == "ints" {
		return []string{"[]"}
	}
	return []string{`""`}
}

// joined returns the texts that can be composed of the parts, new or old.
func (f *fieldRule) joined(s *statement) []string {
	texts := []string{""}
	for i, p := range f.paths {
		parts := s.at(p)
		if i < len(f.old) {
			parts = append(parts, s.at(f.old[i])...)
		}
		var longer []string
		for _, begun := range texts {
			for _, part := range parts {
				text := f.tidy(plain(part))
				switch {
				case part == nil || text == "":
					longer = append(longer, begun)
				case begun == "":
					longer = append(longer, text)
				default:
					longer = append(longer, begun+f.separator+text)
				}
			}
		}
		texts = longer[:min(len(longer), 10_000)]
	}
	var values []string
	for _, text := range texts {
		values = append(values, f.meanings(text)...)
	}
	return values
}

// meanings returns the possible meanings of a stated value: mostly one, or none that could be sent.
func (f *fieldRule) meanings(v any) []string {
	if f.as == "ints" {
		return f.list(v)
	}
	text := f.tidy(plain(v))
	switch {
	case v == nil && !f.isEmpty("null"):
		if f.clears["null"] {
			return f.cleared()
		}
		return nil
	case text == "" || f.isEmpty(text):
		if _, isBool := v.(bool); f.clears["empty"] && !isBool && !isContainer(v) {
			return f.cleared()
		}
		return nil
	}
	if f.table != nil {
		to, ok := f.table[text]
		if !ok {
			return nil
		}
		text, v = to, to
	}
	return f.converted(v, text)
}

func isContainer(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

func (f *fieldRule) converted(v any, text string) []string {
	if isContainer(v) {
		return nil
	}
	switch f.as {
	case "gender":
		return f.gender(text)
	case "date":
		return f.date(v, text)
	case "int":
		if n := whole(text); n != "" {
			return []string{n}
		}
		return nil
	case "phone":
		return f.phone(text)
	}
	if f.name == "mobile" && strings.ContainsAny(text, "*＊") {
		return nil
	}
	return []string{quoted(text)}
}

// isEmpty reports whether the mapping treats a value as empty.
func (f *fieldRule) isEmpty(text string) bool {
	return slices.ContainsFunc(f.empties, func(e string) bool { return e == text || whole(e) != "" && whole(e) == whole(text) })
}

// tidy applies the mapping's rules for every text.
func (f *fieldRule) tidy(text string) string {
	switch f.form {
	case "nfc":
		text = norm.NFC.String(text)
	case "nfkc":
		text = norm.NFKC.String(text)
	}
	if f.trim {
		text = strings.TrimSpace(text)
	}
	return text
}

// plain returns a value as text, a whole number in its shortest form.
func plain(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		if n := whole(v.String()); n != "" {
			return n
		}
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// whole returns the decimal digits of a whole number, and an empty text for others.
func whole(text string) string {
	if len(text) > 100 || strings.ContainsAny(text, "/_xXoOpPiI+ ") && !strings.Contains(strings.ToLower(text), "e+") {
		return ""
	}
	if e := strings.IndexAny(text, "eE"); e >= 0 {
		if n, err := strconv.Atoi(text[e+1:]); err != nil || n > 100 || n < -100 {
			return ""
		}
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok || !r.IsInt() {
		return ""
	}
	return r.Num().String()
}

// list reads a list, or a text that holds one.
func (f *fieldRule) list(v any) []string {
	entries, isList := v.([]any)
	if !isList {
		text := f.tidy(plain(v))
		switch {
		case v == nil:
			if f.clears["null"] {
				return f.cleared()
			}
			return nil
		case text == "" && !isContainer(v) || f.isEmpty(text):
			if f.clears["empty"] {
				return f.cleared()
			}
			return nil
		case f.split == "":
			return nil
		}
		for entry := range strings.SplitSeq(text, f.split) {
			if entry = strings.TrimSpace(entry); entry != "" {
				entries = append(entries, entry)
			}
		}
	}
	if len(entries) == 0 {
		if f.clears["empty"] {
			return f.cleared()
		}
		return nil
	}
	ids := make([]string, len(entries))
	for i, entry := range entries {
		if len(f.each) > 0 {
			inside := walk(entry, f.each)
			if len(inside) == 0 {
				return nil
			}
			entry = inside[0]
		}
		text := f.tidy(plain(entry))
		if f.table != nil {
			text = f.table[text]
		}
		if ids[i] = whole(text); ids[i] == "" || strings.HasPrefix(ids[i], "-") {
			return nil
		}
	}
	return []string{"[" + strings.Join(ids, ",") + "]"}
}

func (f *fieldRule) gender(text string) []string {
	male, female := f.male, f.female
	if male == nil {
		male = []string{"M", "m", "male", "Male", "MALE", "man", "男", "男性", "1"}
	}
	if female == nil {
		female = []string{"F", "f", "female", "Female", "FEMALE", "woman", "女", "女性", "2"}
	}
	switch {
	case slices.Contains(male, text):
		return []string{`"M"`}
	case slices.Contains(female, text):
		return []string{`"F"`}
	}
	return nil
}

func (f *fieldRule) phone(text string) []string {
	if strings.ContainsAny(text, "*＊xX#•●") {
		return nil
	}
	var digits strings.Builder
	for _, r := range text {
		if r >= '0' && r <= '9' || r == '+' {
			digits.WriteRune(r)
		}
	}
	number := digits.String()
	for _, prefix := range []string{"+" + f.country, "00" + f.country} {
		if rest, ok := strings.CutPrefix(number, prefix); ok && f.country != "" && rest != "" {
			return []string{quoted(rest)}
		}
	}
	return []string{quoted(number)}
}

// date returns the instant of the value by the mapping's unit, or by any format of a text in its
// zone.
func (f *fieldRule) date(v any, text string) []string {
	var ms []int64
	_, isNumber := v.(json.Number)
	if f.unit != "" && (isNumber || whole(text) != "" || strings.Contains(text, ".")) {
		if number, ok := new(big.Rat).SetString(text); ok && len(text) < 100 {
			ms = append(ms, f.counted(number)...)
		}
	}
	if !isNumber {
		ms = append(ms, written(text, f.zone)...)
	}
	var values []string
	for _, at := range ms {
		day := time.UnixMilli(at).UTC()
		if f.zone != nil {
			day = day.In(f.zone)
		}
		if f.noEnd && day.Year() == 9999 && day.YearDay() == 365 {
			if f.clears["empty"] {
				values = append(values, f.cleared()...)
			}
			continue
		}
		values = append(values, quoted(strconv.FormatInt(at, 10)))
	}
	return values
}

// counted returns what a number since 1970 means, in milliseconds.
func (f *fieldRule) counted(number *big.Rat) []int64 {
	scale := map[string]*big.Rat{"s": big.NewRat(1000, 1), "ms": big.NewRat(1, 1), "us": big.NewRat(1, 1000), "ns": big.NewRat(1, 1_000_000)}[f.unit]
	if scale == nil { // days
		if !number.IsInt() || number.Num().BitLen() > 30 || f.zone == nil {
			return nil
		}
		return []int64{time.Date(1970, 1, 1+int(number.Num().Int64()), 0, 0, 0, 0, f.zone).UnixMilli()}
	}
	r := new(big.Rat).Mul(number, scale)
	ms := new(big.Int).Div(r.Num(), r.Denom()) // rounded towards the past
	if !ms.IsInt64() {
		return nil
	}
	if f.wall && f.zone != nil {
		t := time.UnixMilli(ms.Int64()).UTC()
		return []int64{time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), f.zone).UnixMilli()}
	}
	return []int64{ms.Int64()}
}

// written returns the instants that a text can mean.
func written(text string, zone *time.Location) (ms []int64) {
	if inner, ok := strings.CutPrefix(text, "/Date("); ok {
		number, _, _ := strings.Cut(inner, ")")
		if sign := strings.LastIndexAny(number, "+-"); sign > 0 {
			number = number[:sign]
		}
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			ms = append(ms, n)
		}
	}
	if zone == nil {
		zone = time.UTC
	}
	days := []string{"2006-01-02", "20060102", "2006/1/2", "2006年1月2日"}
	layouts := slices.Clone(days)
	for _, clock := range []string{"15:04:05", "15:04"} {
		for _, between := range []string{"T", " "} {
			for _, offset := range []string{"", "Z07:00", "Z0700", "Z07", " Z07:00", " Z0700", " Z07"} {
				layouts = append(layouts, days[0]+between+clock+offset)
			}
		}
	}
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			ms = append(ms, t.UnixMilli())
		}
	}
	return ms
}

// quoted returns a text as JSON without escapes for HTML.
func quoted(text string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) //nolint:errchkjson // a text
	return strings.TrimSuffix(b.String(), "\n")
}

// members returns the ids that the record can be about.
func (r *rules) members(s *statement) (ids []string) {
	for _, p := range r.member.paths {
		for _, v := range s.at(p) {
			text := plain(v)
			if r.member.table != nil {
				text = r.member.table[text]
			}
			if text != "" && !isContainer(v) {
				ids = append(ids, text)
			}
		}
	}
	return ids
}
