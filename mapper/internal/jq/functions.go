package jq

import (
	"encoding/base64"
	"math/big"
	"strings"

	"github.com/itchyny/gojq"
)

// functions are those that count, and those that mapping files have in addition to jq's.
func functions() []gojq.CompilerOption {
	return []gojq.CompilerOption{
		gojq.WithFunction(charged, 1, 1, counting(func(m *meter, v any) bool { return m.charge(v, 0) })),
		gojq.WithFunction(indexed, 1, 1, counting(func(_ *meter, v any) bool { return isIndex(v) })),
		gojq.WithFunction(pathed, 1, 1, counting(func(_ *meter, v any) bool { return isPath(v) })),
		gojq.WithFunction(times, 3, 3, func(v any, args []any) any {
			return counting(func(m *meter, _ any) bool { return m.product(args[0], args[1]) })(v, args)
		}),
		gojq.WithFunction(short, 1, 1, counting(func(_ *meter, v any) bool { s, is := v.(string); return !is || len(s) <= maxRegexp })),
		gojq.WithFunction("decimal", 1, 1, func(v any, args []any) any { return decimal(v, args[0]) }),
	}
}

// counting makes a function of a check on its input, which it returns. A failed check ends the run.
func counting(check func(m *meter, v any) bool) func(any, []any) any {
	return func(v any, args []any) any {
		m, ok := args[len(args)-1].(*meter)
		if !ok || m.over != "" || !check(m, v) {
			if ok {
				m.stop(oversize)
			}
			return errOver
		}
		return v
	}
}

// charge counts a value as a tree, since that is what reading it costs. It reports whether the
// budget had as much.
func (m *meter) charge(v any, depth int) bool {
	m.size--
	switch v := v.(type) {
	case string:
		m.size -= len(v)
	case *big.Int:
		m.size -= v.BitLen()
	case []any:
		for _, entry := range v {
			if m.size < 0 || depth > maxDepth || !m.charge(entry, depth+1) {
				return false
			}
		}
	case map[string]any:
		for name, member := range v {
			if m.size -= len(name); m.size < 0 || depth > maxDepth || !m.charge(member, depth+1) {
				return false
			}
		}
	}
	return m.size >= 0
}

func isIndex(v any) bool {
	n, is := gojq.ToFloat64(v)
	return !is || n <= maxIndex
}

// isPath looks at the indexes of a path, or of a list of paths.
func isPath(v any) bool {
	list, is := v.([]any)
	if !is {
		return isIndex(v)
	}
	for _, step := range list {
		if !isPath(step) {
			return false
		}
	}
	return true
}

// product reports whether two factors may be multiplied: a text is repeated, and large numbers
// grow.
func (m *meter) product(a, b any) bool {
	for _, pair := range [][2]any{{a, b}, {b, a}} {
		text, isText := pair[0].(string)
		if n, isNumber := gojq.ToFloat64(pair[1]); isText && isNumber && float64(len(text))*n > float64(m.size) {
			return false
		}
	}
	return true
}

// decimal reads Kafka Connect's Decimal, the unscaled number in base64, as a text of digits.
func decimal(v, scale any) any {
	text, isText := v.(string)
	n, isInt := scale.(int)
	if v == nil {
		return nil
	}
	const most = 64
	if !isText || !isInt || n < -most || n > most {
		return errArgs
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) == 0 || len(b) > most {
		return errArgs
	}
	return Decimal(b, n)
}

// Decimal writes a number in two's complement as decimal digits, of which scale stand behind the
// point. Zeros at the end of the fraction are left out. The bytes are not empty.
func Decimal(b []byte, scale int) string {
	n := new(big.Int).SetBytes(b)
	if b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	if scale <= 0 {
		return n.String() + strings.Repeat("0", -scale)
	}
	digits, negative := strings.CutPrefix(n.String(), "-")
	digits = strings.Repeat("0", max(scale+1-len(digits), 0)) + digits
	whole, fraction := digits[:len(digits)-scale], strings.TrimRight(digits[len(digits)-scale:], "0")
	if negative {
		whole = "-" + whole
	}
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}
