package spec

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Schema returns the JSON Schema of a mapping file. Fields are the names that Fields may have.
func Schema(fields []string) ([]byte, error) {
	s := schema{fields: fields, sections: map[string]any{}}
	root := s.section(reflect.TypeFor[File]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "membersync mapping file"
	root["$defs"] = s.sections
	text, err := json.MarshalIndent(root, "", "  ")
	return append(text, '\n'), err
}

type schema struct {
	fields   []string
	sections map[string]any
}

// of returns the schema of a type; tag is that of the field that it is for.
func (s *schema) of(t reflect.Type, tag reflect.StructTag) map[string]any {
	switch t {
	case reflect.TypeFor[Text]():
		return textSchema(tag)
	case reflect.TypeFor[Program]():
		return map[string]any{"type": "string"}
	case reflect.TypeFor[Path]():
		program := map[string]any{
			"type": "object", "properties": map[string]any{"jq": map[string]any{"type": "string"}},
			"required": []string{"jq"}, "additionalProperties": false,
		}
		return map[string]any{"anyOf": []any{textSchema(tag), program}}
	case reflect.TypeFor[Scalar]():
		return map[string]any{"type": []string{"string", "number", "boolean", "null"}}
	case reflect.TypeFor[Number]():
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.TypeFor[Flag]():
		return map[string]any{"type": "boolean"}
	case reflect.TypeFor[Clear]():
		return map[string]any{"enum": []any{"", []any{}, ClearRefused}}
	case reflect.TypeFor[Raw]():
		return map[string]any{}
	}
	return s.compound(t, tag)
}

func textSchema(tag reflect.StructTag) map[string]any {
	allowed := strings.Fields(tag.Get("enum"))
	switch {
	case len(allowed) == 1: // the version, which YAML reads as a number
		return map[string]any{"enum": []any{1, "1"}}
	case len(allowed) > 1:
		return map[string]any{"enum": allowed}
	}
	return map[string]any{"type": []string{"string", "number", "boolean"}}
}

func (s *schema) compound(t reflect.Type, tag reflect.StructTag) map[string]any {
	switch {
	case t.Kind() == reflect.Pointer:
		return s.of(t.Elem(), tag)
	case isMap(t):
		value, _ := t.Elem().FieldByName("Value")
		return s.freeNames(s.of(value.Type, ""), tag)
	case t.Kind() == reflect.Slice:
		entry := s.of(t.Elem(), tag)
		list := map[string]any{"type": "array", "items": entry}
		if isSingle(t.Elem()) {
			return map[string]any{"anyOf": []any{entry, list}}
		}
		return list
	}
	if _, done := s.sections[t.Name()]; !done {
		s.sections[t.Name()] = nil // it may hold itself
		s.sections[t.Name()] = s.section(t)
	}
	return map[string]any{"$ref": "#/$defs/" + t.Name()}
}

func (s *schema) freeNames(value map[string]any, tag reflect.StructTag) map[string]any {
	if tag.Get("fields") == "" {
		return map[string]any{"type": "object", "additionalProperties": value}
	}
	members := map[string]any{}
	for _, name := range s.fields {
		members[name] = value
	}
	return map[string]any{"type": "object", "properties": members, "additionalProperties": false}
}

func (s *schema) section(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	var short map[string]any
	for _, f := range keysOf(t) {
		key := f.Tag.Get("yaml")
		property := s.of(f.Type, f.Tag)
		if key == shortOf(t) {
			short = s.of(f.Type, f.Tag)
		}
		property["description"] = f.Tag.Get("doc")
		properties[key] = property
		if f.Tag.Get("need") != "" {
			required = append(required, key)
		}
	}
	object := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		object["required"] = required
	}
	if short == nil {
		return object
	}
	return map[string]any{"anyOf": []any{short, object}}
}

// Keys lists every key of the format, each once, with the sections that have it.
func Keys() map[string][]string {
	keys := map[string][]string{}
	seen := map[reflect.Type]bool{}
	var visit func(reflect.Type)
	visit = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if strings.HasPrefix(t.Name(), "Entry[") {
			value, _ := t.FieldByName("Value")
			visit(value.Type)
			return
		}
		if t.Kind() != reflect.Struct || seen[t] {
			return
		}
		seen[t] = true
		for _, f := range keysOf(t) {
			keys[f.Tag.Get("yaml")] = append(keys[f.Tag.Get("yaml")], t.Name())
			visit(f.Type)
		}
	}
	visit(reflect.TypeFor[File]())
	return keys
}
