package corpus_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// Rules hold what a mapping file allows to be sent.
type rules struct {
	member  fieldRule
	fields  map[string]fieldRule
	lookups map[string]map[string]string
}

// A fieldRule describes where a field's values come from and what may be done to them.
type fieldRule struct {
	name               string
	paths, old         []place // in the new state and in the old one
	concat             bool
	separator          string
	constant           *string
	as, split, country string
	each               []string
	table              map[string]string // of a lookup; nil: none
	trim, noEnd, wall  bool
	form, unit         string
	zone               *time.Location
	empties            []string
	male, female       []string
	clears             map[string]bool // null, empty, missing
	removed            *removal
}

// A removal describes how pairs report that a field was removed.
type removal struct {
	entries, name, op place
	field             string
	words             []string
}

type node = map[string]any

// readRules reads a valid mapping file.
func readRules(t *testing.T, s *source) rules {
	t.Helper()
	var file node
	if err := yaml.Unmarshal(s.mapping, &file); err != nil {
		t.Fatal(s.name, err)
	}
	r := rules{fields: map[string]fieldRule{}, lookups: map[string]map[string]string{}}
	for name, l := range asNode(file["lookups"]) {
		r.lookups[name] = s.lookups[name]
		if table, ok := asNode(l)["table"]; ok {
			r.lookups[name] = asTable(table)
		}
	}
	id := asNode(asNode(file["identity"])["open_user_id"])
	if len(id) == 0 {
		id = node{"from": asNode(file["identity"])["open_user_id"]}
	}
	r.member = fieldRule{as: "id"}
	for _, p := range asList(id["from"]) {
		r.member.paths = append(r.member.paths, rooted(parsePlace(p), file))
	}
	if name, ok := id["lookup"].(string); ok {
		r.member.table = r.lookups[name]
	}
	for name, f := range asNode(file["fields"]) {
		r.fields[name] = r.field(t, name, f, file)
	}
	return r
}

// rooted replaces $after and $before in a path with what they mean.
func rooted(p place, file node) place {
	states := asNode(file["states"])
	switch p.root {
	case "$after":
		return under(stateOf(states, "after", file), p.steps)
	case "$before":
		return under(stateOf(states, "before", file), p.steps)
	}
	return p
}

// stateOf returns the place of the new (after) or old (before) values.
func stateOf(states node, which string, file node) place {
	if text, ok := states[which].(string); ok {
		return parsePlace(text)
	}
	if kind, _ := asNode(file["envelope"])["kind"].(string); kind == "debezium" {
		return place{steps: []string{which}}
	}
	return place{}
}

func under(p place, steps []string) place { return place{p.root, slices.Concat(p.steps, steps)} }

func (r *rules) field(t *testing.T, name string, spec any, file node) fieldRule {
	t.Helper()
	n := asNode(spec)
	if len(n) == 0 {
		n = node{"from": spec}
	}
	defaults := asNode(file["defaults"])
	get := func(key string) any {
		if v, ok := n[key]; ok {
			return v
		}
		return defaults[key]
	}
	f := fieldRule{name: name, as: kindOf(name), clears: map[string]bool{}, empties: asList(n["also_empty"])}
	f.trim, _ = get("trim").(bool)
	f.form, _ = get("form").(string)
	for why, key := range map[string]string{"null": nullKey, "empty": "empty", "missing": "missing"} {
		f.clears[why] = get(key) == "clear"
	}
	if as, ok := n["as"].(string); ok {
		f.as = as
	}
	f.unit, _ = n["unit"].(string)
	f.wall, _ = n["wall"].(bool)
	f.noEnd, _ = n["no_end"].(bool)
	f.split, _ = n["split"].(string)
	f.country, _ = n["country"].(string)
	f.male, f.female = asList(n["male"]), asList(n["female"])
	f.zone = zoneOf(t, n["zone"], file["zone"])
	f.from(n, file)
	if constant, ok := n["const"]; ok {
		text := asText(constant)
		f.constant = &text
	}
	if lookup, ok := n["lookup"].(string); ok {
		f.table = r.lookups[lookup]
	}
	if table, ok := n["table"]; ok {
		f.table = asTable(table)
	}
	if each, ok := n["each"].(string); ok {
		f.each = parsePlace(each).steps
	}
	return f
}

// from finds the places of the values.
func (f *fieldRule) from(n, file node) {
	paths := asList(n["from"])
	if parts, ok := n["concat"]; ok {
		paths, f.concat = asList(parts), true
		f.separator, _ = n["separator"].(string)
	}
	states := asNode(file["states"])
	pairs := asNode(states["pairs"])
	for _, text := range paths {
		p := parsePlace(text)
		switch {
		case p.root != "":
			f.paths = append(f.paths, rooted(p, file))
		case len(pairs) > 0:
			f.pair(file, pairs, p)
		default:
			f.paths = append(f.paths, under(stateOf(states, "after", file), p.steps))
			f.old = append(f.old, under(stateOf(states, "before", file), p.steps))
		}
	}
}

// pair finds a value in old and new pairs: by the name of the field, or in the entry that names it.
func (f *fieldRule) pair(file, pairs node, p place) {
	from, newer := rooted(parsePlace(asText(pairs["from"])), file), parsePlace(asText(pairs["new"])).steps
	name, byName := pairs["name"].(string)
	if objects, _ := pairs["objects"].(bool); objects {
		from = under(from, []string{anyEntry})
	}
	if !byName {
		f.paths = append(f.paths, under(from, slices.Concat(p.steps[:1], newer, p.steps[1:])))
		if bare, _ := pairs["bare"].(bool); bare {
			f.paths = append(f.paths, under(from, p.steps))
		}
		return
	}
	entries := under(from, []string{anyEntry})
	f.paths = append(f.paths, under(entries, slices.Concat(newer, p.steps[1:])))
	f.removed = &removal{
		entries: entries, name: parsePlace(name), op: parsePlace(asText(pairs["op"])),
		field: p.steps[0], words: asList(pairs["remove"]),
	}
}

// nullKey is what the YAML library returns for a plain null as a key.
const nullKey = ""

func kindOf(field string) string {
	switch field {
	case "gender":
		return "gender"
	case "hireDate", "birthDate", "startWorkDate":
		return "date"
	case "mainDepartmentId":
		return "int"
	case "attachingDepartmentIds":
		return "ints"
	}
	return "text"
}

func zoneOf(t *testing.T, names ...any) *time.Location {
	t.Helper()
	for _, name := range names {
		if text, ok := name.(string); ok {
			zone, err := time.LoadLocation(text)
			if err != nil {
				t.Fatal(err)
			}
			return zone
		}
	}
	return nil
}

func asNode(v any) node {
	switch v := v.(type) {
	case node:
		return v
	case map[any]any:
		n := node{}
		for key, value := range v {
			n[asText(key)] = value
		}
		return n
	}
	return nil
}

func asTable(v any) map[string]string {
	table := map[string]string{}
	for key, value := range asNode(v) {
		table[key] = asText(value)
	}
	return table
}

func asList(v any) (list []string) {
	switch v := v.(type) {
	case nil:
	case []any:
		for _, entry := range v {
			list = append(list, asText(entry))
		}
	default:
		list = append(list, asText(v))
	}
	return list
}

func asText(v any) string {
	if v == nil {
		return ""
	}
	text, err := yaml.Marshal(v)
	if err != nil {
		return ""
	}
	var plain string
	if s, ok := v.(string); ok {
		plain = s
	} else {
		plain = strings.TrimSpace(string(text))
	}
	return plain
}
