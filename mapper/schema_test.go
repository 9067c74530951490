package mapper_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A validator knows as much of JSON Schema as the schema of mapping files uses, and fails on
// anything else.
type validator struct{ definitions map[string]any }

// check returns what is wrong with v.
func (c validator) check(schema map[string]any, v any, at string) error {
	for key := range schema {
		if !slices.Contains(strings.Fields("$schema title $defs description type enum properties additionalProperties required items anyOf $ref minimum"), key) {
			return fmt.Errorf("the schema has the key %s", key)
		}
	}
	if ref, ok := schema["$ref"].(string); ok {
		definition, _ := c.definitions[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		if definition == nil {
			return fmt.Errorf("there is no %s", ref)
		}
		return c.check(definition, v, at)
	}
	if some, ok := schema["anyOf"].([]any); ok {
		return c.anyOf(some, v, at)
	}
	if allowed, ok := schema["enum"].([]any); ok && !slices.ContainsFunc(allowed, func(a any) bool { return reflect.DeepEqual(a, v) }) {
		return fmt.Errorf("%s: %v is not one of %v", at, v, allowed)
	}
	if types := typesOf(schema); types != nil && !slices.Contains(types, typeOf(v)) && (typeOf(v) != "integer" || !slices.Contains(types, "number")) {
		return fmt.Errorf("%s: %v is not of the type %v", at, v, types)
	}
	return c.inside(schema, v, at)
}

func (c validator) anyOf(some []any, v any, at string) error {
	var errs []string
	for _, one := range some {
		schema, _ := one.(map[string]any)
		err := c.check(schema, v, at)
		if err == nil {
			return nil
		}
		errs = append(errs, err.Error())
	}
	return fmt.Errorf("%s", strings.Join(errs, "; or "))
}

func (c validator) inside(schema map[string]any, v any, at string) error {
	switch v := v.(type) {
	case map[string]any:
		return c.object(schema, v, at)
	case []any:
		items, _ := schema["items"].(map[string]any)
		for i, entry := range v {
			if err := c.check(items, entry, fmt.Sprintf("%s[%d]", at, i)); items != nil && err != nil {
				return err
			}
		}
	}
	return nil
}

func (c validator) object(schema, v map[string]any, at string) error {
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := v[fmt.Sprint(name)]; !ok {
			return fmt.Errorf("%s: %s is missing", at, name)
		}
	}
	for name, member := range v {
		inner, ok := properties[name].(map[string]any)
		if !ok {
			inner, ok = schema["additionalProperties"].(map[string]any)
		}
		if !ok && schema["additionalProperties"] == false {
			return fmt.Errorf("%s: %s is no key", at, name)
		}
		if err := c.check(inner, member, at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

func typesOf(schema map[string]any) (types []string) {
	switch t := schema["type"].(type) {
	case string:
		return []string{t}
	case []any:
		for _, one := range t {
			types = append(types, fmt.Sprint(one))
		}
	}
	return types
}

func typeOf(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	case nil:
		return "null"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
	}
	return "number"
}

// asJSON is a YAML file as an editor's schema sees it.
func asJSON(t *testing.T, text []byte) (v any) {
	t.Helper()
	var node any
	if err := yaml.Unmarshal(text, &node); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(namesAsText(node))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(encoded, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// namesAsText turns names that YAML reads as null or a number into the texts that they are to an
// editor.
func namesAsText(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			v[name] = namesAsText(v[name])
		}
	case map[any]any:
		texts := make(map[string]any, len(v))
		for name, member := range v {
			if name == nil {
				name = "null"
			}
			texts[fmt.Sprint(name)] = namesAsText(member)
		}
		return texts
	case []any:
		for i := range v {
			v[i] = namesAsText(v[i])
		}
	}
	return v
}

// TestSchemaTakesTheFiles validates every mapping file of the repository by the schema.
func TestSchemaTakesTheFiles(t *testing.T) {
	t.Parallel()
	check := schemaCheck(t)
	files := []string{"annotated.yaml"}
	for _, pattern := range []string{"builtin/*.yaml", "mappings/*.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		if err := check(asJSON(t, readFile(t, file))); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for name, file := range corpus(t) {
		if file.Mapping == "" {
			continue
		}
		if err := check(asJSON(t, []byte(file.Mapping))); err != nil {
			t.Errorf("corpus %s: %v", name, err)
		}
	}
}

// TestSchemaRefuses shows that the schema says something: what it must not take, the decoder does
// not take either.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	check := schemaCheck(t)
	for _, edit := range [][2]string{
		{"version: 1", "version: 2"},
		{"kind: sequence", "kind: sequential"},
		{"  email: email", "  mail: email"},
		{"  email: email", "  email: {}\n  fax: 1"},
		{"order:", "orders:"},
		{"before: $event.before", "befor: $event.before"},
		{"male: M", "male: {}"},
		{"outcome: update", "outcome: updated"},
	} {
		text := strings.Replace(string(readFile(t, "builtin/canonical.yaml")), edit[0], edit[1], 1)
		if check(asJSON(t, []byte(text))) == nil {
			t.Errorf("the schema takes %q", edit[1])
		}
		if _, err := parse(text); err == nil {
			t.Errorf("the decoder takes %q", edit[1])
		}
	}
}

func schemaCheck(t *testing.T) func(any) error {
	t.Helper()
	var schema map[string]any
	if err := json.Unmarshal(readFile(t, "mapping.schema.json"), &schema); err != nil {
		t.Fatal(err)
	}
	definitions, _ := schema["$defs"].(map[string]any)
	return func(v any) error { return validator{definitions}.check(schema, v, "") }
}
