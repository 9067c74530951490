package dlq

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// formatTime formats RFC 3339 with milliseconds in UTC. The zero time is the empty text. A record
// may carry any 64-bit timestamp: one outside RFC 3339's years is formatted as milliseconds since
// 1970.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	t = t.UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		return strconv.FormatInt(t.UnixMilli(), 10)
	}
	return t.Format(timeLayout)
}

func parseTime(s string) (time.Time, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.UnixMilli(ms).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("not RFC 3339: %w", err)
	}
	return t.UTC().Truncate(time.Millisecond), nil
}

// errorText makes a text safe for a header and a terminal: one line of valid UTF-8 without control
// characters, at most 1 KiB.
func errorText(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
	return clip(s, maxErrorBytes)
}

// clip truncates a text to at most n bytes. It cuts between characters if the text is valid UTF-8.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:n]
}
