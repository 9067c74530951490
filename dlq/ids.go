package dlq

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const escapedRune = len(`\u0000`)

// escapeID makes an id, or another text from outside, safe for a header and whatever prints it:
// each character that is not graphic, such as a control character or a bidirectional mark, becomes
// its \u escape. So does a backslash before a u, which makes the escapes reversible. Bytes that are
// not UTF-8 are replaced. The result has at most maxFactBytes and ends with a whole character or
// escape.
func escapeID(id string) string {
	var b []byte
	for at, r := range id {
		before := len(b)
		switch {
		case r == '\\' && strings.HasPrefix(id[at+1:], "u"), !unicode.IsGraphic(r):
			b = appendEscape(b, r)
		default:
			b = utf8.AppendRune(b, r)
		}
		if len(b) > maxFactBytes {
			return string(b[:before])
		}
	}
	return string(b)
}

func appendEscape(b []byte, r rune) []byte {
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return fmt.Appendf(b, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(b, `\u%04x`, r)
}

// unescapeID reverses escapeID. What is not an escape stays as it is.
func unescapeID(text string) string {
	if !strings.Contains(text, `\u`) {
		return text
	}
	var b strings.Builder
	for text != "" {
		r, n := escapeAt(text)
		if n == 0 {
			b.WriteByte(text[0])
			text = text[1:]
			continue
		}
		if low, more := escapeAt(text[n:]); utf16.IsSurrogate(r) && more > 0 {
			r, n = utf16.DecodeRune(r, low), n+more
		}
		b.WriteRune(r)
		text = text[n:]
	}
	return b.String()
}

// escapeAt returns the character of the escape that a text begins with, and its length; 0: it
// begins with none.
func escapeAt(text string) (r rune, n int) {
	if len(text) < escapedRune || text[:2] != `\u` {
		return 0, 0
	}
	code, err := strconv.ParseUint(text[2:escapedRune], 16, 16)
	if err != nil {
		return 0, 0
	}
	return rune(code), escapedRune
}
