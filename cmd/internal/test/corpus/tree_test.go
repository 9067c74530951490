package corpus_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go"
)

// A place is a parsed path of the mapping file: names, indexes, and conditions that match any entry
// of a list.
type place struct {
	root  string // $header, $key or empty
	steps []string
}

const anyEntry = "\x00any"

// parsePlace parses a path. A backslash escapes the next character.
func parsePlace(text string) place {
	var p place
	var name strings.Builder
	end := func() {
		if name.Len() > 0 {
			p.steps = append(p.steps, name.String())
			name.Reset()
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\\':
			i++
			name.WriteByte(text[i])
		case '.':
			end()
		case '[':
			end()
			inside, _, _ := strings.Cut(text[i+1:], "]")
			i += len(inside) + 1
			if _, err := strconv.Atoi(inside); err != nil {
				inside = "any"
			}
			p.steps = append(p.steps, "\x00"+inside)
		default:
			name.WriteByte(c)
		}
	}
	end()
	if len(p.steps) > 0 && slices.Contains([]string{"$event", "$item", "$after", "$before", "$key", "$header", "$ce"}, p.steps[0]) {
		p.root, p.steps = p.steps[0], p.steps[1:]
	}
	return p
}

// A statement is everything that a record states.
type statement struct {
	nodes   []any // all values in the record's value, including those in texts that hold JSON
	key     []any
	headers map[string]string
}

func stated(m kafka.Message) *statement {
	s := &statement{headers: map[string]string{}}
	for _, framing := range []int{0, 5, 17} {
		if len(m.Value) >= framing {
			s.nodes = gather(s.nodes, decode(m.Value[framing:]))
		}
		if len(m.Key) >= framing {
			s.key = gather(s.key, decode(m.Key[framing:]))
		}
	}
	s.key = append(s.key, string(m.Key))
	for _, h := range m.Headers {
		s.headers[strings.ToLower(h.Key)] = string(h.Value)
	}
	return s
}

// decode reads JSON. It returns nil for invalid JSON.
func decode(text []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) != nil {
		return nil
	}
	return v
}

// within returns the JSON value in a text, or the value itself.
func within(v any) any {
	text, ok := v.(string)
	if !ok {
		return v
	}
	if decoded, err := base64.StdEncoding.DecodeString(text); err == nil && len(decoded) > 1 {
		if inner := decode(decoded); inner != nil {
			return inner
		}
	}
	if strings.ContainsAny(text, `{["`) {
		if inner := decode([]byte(text)); inner != nil {
			return inner
		}
	}
	return v
}

func gather(all []any, v any) []any {
	all = append(all, v)
	if _, isText := v.(string); isText {
		if v = within(v); isContainer(v) {
			all = append(all, v)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for _, member := range v {
			all = gather(all, member)
		}
	case []any:
		for _, entry := range v {
			all = gather(all, entry)
		}
	}
	return all
}

// at finds all values that a path can mean, wherever it begins.
func (s *statement) at(p place) (found []any) {
	switch p.root {
	case "$header":
		if text, ok := s.headers[strings.ToLower(strings.Join(p.steps, "."))]; ok {
			return []any{text}
		}
		return nil
	case "$ce":
		if text, ok := s.headers["ce_"+strings.ToLower(p.steps[0])]; ok {
			found = append(found, text)
		}
	case "$key":
		for _, node := range s.key {
			found = append(found, walk(node, p.steps)...)
		}
		return found
	}
	for _, node := range s.nodes {
		found = append(found, walk(node, p.steps)...)
	}
	return found
}

// walk continues from a value.
func walk(v any, steps []string) (found []any) {
	if len(steps) == 0 {
		return []any{v}
	}
	if strings.HasPrefix(steps[0], "\x00") {
		list, _ := within(v).([]any)
		if _, isObject := within(v).(map[string]any); isObject && steps[0] == anyEntry { // instead of a list of one
			return walk(v, steps[1:])
		}
		for i, entry := range list {
			if steps[0] == anyEntry || steps[0] == "\x00"+strconv.Itoa(i) {
				found = append(found, walk(entry, steps[1:])...)
			}
		}
		return found
	}
	object, _ := within(v).(map[string]any)
	if member, ok := object[steps[0]]; ok {
		return walk(member, steps[1:])
	}
	return nil
}
