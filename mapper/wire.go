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

// decimal reads Debezium's VariableScaleDecimal: a scale, and an unscaled number in base64.
// See io.debezium.data.VariableScaleDecimal; decimal.handling.mode=precise writes it.
// Where the envelope is not Debezium's, a text of digits is those digits.
func (p *program) decimal(v jsontree.Value) (jsontree.Value, bool) {
	scale, value := v.Member("scale"), v.Member("value")
	if scale.Absent() || !value.IsText() || v.Len() != 2 {
		return v, false
	}
	if p.kind != debezium && p.kind != debeziumFlat && isDecimal(value.Text()) {
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
func (p *program) walk(v jsontree.Value, steps []path.Step, index int) jsontree.Value {
	to := path.Walk(v, steps, index)
	if to.IsObject() {
		number, _ := p.decimal(to)
		return number
	}
	n := len(steps)
	if n > 1 && to.IsText() && steps[n-1].Kind == path.Member && steps[n-1].Name == "value" {
		if number, ok := p.decimal(path.Walk(v, steps[:n-1], index)); ok {
			return number
		}
	}
	return to
}

// looksLikeBytes reports whether a text of a Debezium record is most likely a number in bytes:
// base64 that needs padding. Bytes without padding cannot be told from a text.
func (p *program) looksLikeBytes(text string) bool {
	if p.kind != debezium && p.kind != debeziumFlat || !strings.HasSuffix(text, "=") || len(text)%4 != 0 || len(text) > 16 {
		return false
	}
	_, err := base64.StdEncoding.DecodeString(text)
	return err == nil
}

const bytesProblem = "looks like a number in bytes; set decimal.handling.mode to string, or read it with jq: decimal(SCALE)"
