package mapper

import (
	"strings"
	"unicode/utf8"

	"membersync/mapper/internal/jsontree"
)

// metadata is what a record has besides its value: its key and its headers.
type metadata struct {
	w        *work
	key      jsontree.Value
	keyRead  bool
	keyWrong string
}

// attribute returns an attribute of the CloudEvent.
func (md *metadata) attribute(p *part, name string) (v jsontree.Value, problem string) {
	if !p.attributes.Absent() {
		return p.attributes.Member(name), ""
	}
	return md.headerValue("ce_" + name)
}

func (md *metadata) header(name string) (value []byte, ok bool) {
	for i := range md.w.rec.Headers {
		if md.w.rec.Headers[i].Key == name {
			return md.w.rec.Headers[i].Value, true
		}
	}
	return nil, false
}

func (md *metadata) headerValue(name string) (v jsontree.Value, problem string) {
	value, ok := md.header(name)
	switch {
	case !ok || value == nil:
		return v, ""
	case !utf8.Valid(value):
		return v, "is not valid UTF-8"
	}
	return md.unquoted(string(value)), ""
}

// keyRule says what the record's key is.
type keyRule struct {
	isJSON, registry, registryOptional bool
	unwrap                             []unwrapStep
}

// keyValue reads the record's key, once and only if a path asks for it.
func (md *metadata) keyValue() (jsontree.Value, string) {
	if !md.keyRead {
		md.keyRead = true
		md.key, md.keyWrong = md.readKey()
	}
	return md.key, md.keyWrong
}

func (md *metadata) readKey() (v jsontree.Value, problem string) {
	key, rule := md.w.rec.Key, md.w.p.key
	switch {
	case key == nil:
		return v, ""
	case !rule.isJSON && !utf8.Valid(key):
		return v, "is not valid UTF-8"
	case !rule.isJSON:
		return md.unquoted(string(key)), ""
	}
	if rule.registry {
		n := framing(key)
		if n == 0 && !rule.registryOptional {
			return v, "does not begin with schema-registry framing"
		}
		key = key[n:]
	}
	v, err := md.w.another().ReadInner(key, -1)
	if err != nil {
		return jsontree.Value{}, "is not valid JSON"
	}
	if md.w.p.kind == debezium || md.w.p.kind == debeziumFlat {
		v = connectPayload(v)
	}
	v, fault := unwrapper{md.w}.steps(rule.unwrap, v)
	if fault != nil {
		return jsontree.Value{}, strings.TrimSpace(fault.Path + " " + fault.Text)
	}
	return v, ""
}

// unquoted reads a header or a key that Kafka Connect wrote by a converter: a JSON text, or a
// schema and a payload (JsonConverter). Anything else is the text itself.
func (md *metadata) unquoted(text string) jsontree.Value {
	trimmed := strings.TrimSpace(text)
	if n := len(trimmed); n < 2 || (trimmed[0] != '"' || trimmed[n-1] != '"') && (trimmed[0] != '{' || trimmed[n-1] != '}') {
		return jsontree.OfText(text, -1)
	}
	v, err := md.w.another().ReadInner([]byte(trimmed), -1)
	switch {
	case err != nil:
	case v.IsText():
		return v
	default:
		if payload := connectPayload(v); payload != v {
			return payload
		}
	}
	return jsontree.OfText(text, -1)
}
