package cli

import (
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// An escaping writer replaces each character that a terminal could act on or that could reorder or
// hide text: all control characters except the newline, and whatever else is not graphic, such as
// bidirectional and zero-width marks and the line separator. All that the program prints goes
// through one, so text from events, Kafka, Redis and the CRM needs no care of its own.
//
// A character is replaced by its \u escape. In JSON such characters stand in strings only, so the
// JSON means the same afterwards. A character must not be split over two writes.
type escaping struct{ to io.Writer }

// Write implements [io.Writer]. It returns len(p) unless the writer below fails.
func (e escaping) Write(p []byte) (int, error) {
	if _, err := e.to.Write(escapeUnsafe(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// escapeUnsafe returns p itself if nothing in it needs an escape.
func escapeUnsafe(p []byte) []byte {
	var escaped []byte // nil: nothing yet
	for at := 0; at < len(p); {
		r, n := utf8.DecodeRune(p[at:])
		unsafe := r == utf8.RuneError && n == 1 || r != '\n' && !unicode.IsGraphic(r)
		if unsafe && escaped == nil {
			escaped = append(make([]byte, 0, len(p)+len(p)/4), p[:at]...)
		}
		switch {
		case unsafe:
			escaped = appendEscape(escaped, r)
		case escaped != nil:
			escaped = append(escaped, p[at:at+n]...)
		}
		at += n
	}
	if escaped == nil {
		return p
	}
	return escaped
}

// appendEscape appends the escape that JSON has for a character.
func appendEscape(b []byte, r rune) []byte {
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return fmt.Appendf(b, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(b, `\u%04x`, r)
}
