package mapper

import "bytes"

// notJSON names what a value is that is clearly no JSON text. It returns nothing if
// the value may be one, which the decoder then judges.
func notJSON(value []byte) string {
	text := bytes.Trim(value, " \t\r\n")
	switch {
	case len(value) == 0:
		return "is empty"
	case len(text) == 0:
		return "is only white space"
	case text[0] == '{':
		return ""
	case text[0] == '<':
		return "is XML or HTML"
	case isForm(text):
		return "is a form body"
	}
	return prefixed(value)
}

// prefixed names the wrappings that show in the first bytes.
func prefixed(value []byte) string {
	switch {
	case bytes.HasPrefix(value, []byte("\xef\xbb\xbf")):
		return "begins with a byte order mark"
	case bytes.HasPrefix(value, []byte("\xff\xfe")), bytes.HasPrefix(value, []byte("\xfe\xff")):
		return "is UTF-16"
	case bytes.HasPrefix(value, []byte("\x1f\x8b")):
		return "is gzip"
	case value[0] == 0 && len(value) >= 5:
		return "begins with schema-registry framing (0x00 and a 4-byte id)"
	case value[0] == 1 && len(value) >= 17:
		return "begins with schema-registry framing (0x01 and a 16-byte GUID)"
	}
	return ""
}

// isForm reports whether the text begins like name=value, which no JSON text does. What
// ends in equals signs is base64 rather.
func isForm(text []byte) bool {
	name, rest, _ := bytes.Cut(text, []byte("="))
	if len(name) == 0 || len(name) > 256 || len(bytes.Trim(rest, "=")) == 0 {
		return false
	}
	for _, c := range name {
		if !formByte(c) {
			return false
		}
	}
	return true
}

func formByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || bytes.IndexByte([]byte("_-.%+"), c) >= 0
}
