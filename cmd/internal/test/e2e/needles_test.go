package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// A needle is one spelling of a value that must not be found.
type needle struct {
	what string
	text []byte
}

// needlesFor returns every spelling in which a value may leak.
func needlesFor(what, value string) []needle {
	raw := []byte(value)
	all := []needle{
		{what, raw},
		{what + " in hex", []byte(hex.EncodeToString(raw))},
		{what + " in upper-case hex", bytes.ToUpper([]byte(hex.EncodeToString(raw)))},
		{what, []byte(url.QueryEscape(value))},
		{what + " escaped", escaped(value)},
	}
	// In base64 a value has three spellings by its position, and its ends depend on the adjacent
	// bytes.
	for shift := range 3 {
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "URL base64": base64.RawURLEncoding} {
			text := enc.EncodeToString(append(make([]byte, shift), raw...))
			first, last := (8*shift+5)/6, (shift+len(raw))*8/6
			all = append(all, needle{what + " in " + name, []byte(text[first:last])})
		}
	}
	return all
}

// escaped writes each character as a JSON escape (\u0041).
func escaped(value string) []byte {
	var out bytes.Buffer
	for _, r := range value {
		fmt.Fprintf(&out, `\u%04x`, r)
	}
	return out.Bytes()
}

// found returns the names of the needles in a text.
func found(needles []needle, text []byte) []string {
	var names []string
	for _, n := range needles {
		if bytes.Contains(text, n.text) {
			names = append(names, n.what)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestNeedlesAreFound(t *testing.T) {
	t.Parallel()
	const value = "zqcanary0mobile-90705030102"
	needles := needlesFor("mobile", value)
	for name, text := range map[string]string{
		"raw":               `{"msg":"call failed","error":"` + value + `"}`,
		"hex":               "key:" + hex.EncodeToString([]byte("x"+value+"y")),
		"upper-case hex":    strings.ToUpper(hex.EncodeToString([]byte(value))),
		"URL":               "https://crm.invalid/?q=" + url.QueryEscape(value),
		"escaped":           `"` + string(escaped(value)) + `"`,
		"base64":            base64.StdEncoding.EncodeToString([]byte(value)),
		"base64 one behind": base64.StdEncoding.EncodeToString([]byte("x" + value + "tail")),
		"base64 two behind": base64.URLEncoding.EncodeToString([]byte("xy" + value + "t")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if len(found(needles, []byte(text))) == 0 {
				t.Errorf("%q is not found in %q", value, text)
			}
		})
	}
	if names := found(needles, []byte("nothing of it, only zqcanary1 and 90705030103")); len(names) > 0 {
		t.Errorf("found %q where there is nothing", names)
	}
}
