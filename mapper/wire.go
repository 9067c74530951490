package mapper

import (
	"encoding/base64"
	"strconv"
	"strings"

	"membersync/mapper/internal/jq"
	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// What converters of Kafka Connect make of a value, undone.

// unquoted reads a header or a key that Kafka Connect wrote by a converter: a JSON text, or a
// schema and a payload (JsonConverter). Anything else is the text itself.
func (w *work) unquoted(text string) jsontree.Value {
	trimmed := strings.TrimSpace(text)
	if n := len(trimmed); n < 2 || (trimmed[0] != '"' || trimmed[n-1] != '"') && (trimmed[0] != '{' || trimmed[n-1] != '}') {
		return jsontree.OfText(text, -1)
	}
	v, err := w.another().ReadInner([]byte(trimmed), -1)
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

// decimal reads Debezium's VariableScaleDecimal: a scale, and an unscaled number in base64.
// See io.debezium.data.VariableScaleDecimal; decimal.handling.mode=precise writes it.
// Where the envelope is not Debezium's, a text of digits is those digits.
func (w *work) decimal(v jsontree.Value) (jsontree.Value, bool) {
	scale, value := v.Member("scale"), v.Member("value")
	if scale.Absent() || !value.IsText() || v.Len() != 2 {
		return v, false
	}
	if w.p.kind != debezium && w.p.kind != debeziumFlat && isDecimal(value.Text()) {
		return v, false
	}
	digits, problem := exactInteger(string(scale.Raw()), 4)
	n, err := strconv.Atoi(digits)
	if problem != "" || err != nil || n < -maxScale || n > maxScale {
		return v, false
	}
	text, ok := unscaled(value.Text(), n)
	if !ok {
		return v, false
	}
	return jsontree.OfText(text, int(v.Offset())), true
}

// maxScale bounds the digits that a scale can add.
const maxScale = 64

// unscaled reads a number in two's complement in base64 as decimal digits.
func unscaled(encoded string, scale int) (text string, ok bool) {
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(b) == 0 || len(b) > maxScale {
		return "", false
	}
	return jq.Decimal(b, scale), true
}

// walk follows the steps of a path. A number that Debezium wrote as bytes is that number, also
// where the path goes on to its bytes.
func (w *work) walk(v jsontree.Value, steps []path.Step, index int) jsontree.Value {
	to := path.Walk(v, steps, index)
	if to.IsObject() {
		number, _ := w.decimal(to)
		return number
	}
	n := len(steps)
	if n > 1 && to.IsText() && steps[n-1].Kind == path.Member && steps[n-1].Name == "value" {
		if number, ok := w.decimal(path.Walk(v, steps[:n-1], index)); ok {
			return number
		}
	}
	return to
}

// looksLikeBytes reports whether a text of a Debezium record is most likely a number in bytes:
// base64 that needs padding. Bytes without padding cannot be told from a text.
func (w *work) looksLikeBytes(text string) bool {
	if w.p.kind != debezium && w.p.kind != debeziumFlat || !strings.HasSuffix(text, "=") || len(text)%4 != 0 || len(text) > 16 {
		return false
	}
	_, err := base64.StdEncoding.DecodeString(text)
	return err == nil
}

const bytesProblem = "looks like a number in bytes; set decimal.handling.mode to string, or read it with jq: decimal(SCALE)"

// fromPair reads the JSON that a text of a pair holds: a text in quotes, or a list of which one
// entry is the value and none is an empty one (Entra's audit log). Other texts are as they are.
func (m *interpreter) fromPair(v jsontree.Value) jsontree.Value {
	if !v.IsText() {
		return v
	}
	text := strings.TrimSpace(v.Text())
	if n := len(text); n < 2 || (text[0] != '[' || text[n-1] != ']') && (text[0] != '"' || text[n-1] != '"') {
		return v
	}
	inside, err := m.w.another().ReadInner([]byte(text), int(v.Offset()))
	switch {
	case err != nil:
		return v
	case inside.IsList() && inside.Len() == 0:
		return jsontree.OfText("", int(v.Offset()))
	case inside.IsList() && inside.Len() == 1:
		return inside.Entry(0)
	}
	return inside
}
