package texts

import (
	"strconv"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
)

// Quoted returns a text from outside as it is, or quoted if it holds a character that is not
// printable; "-" for the empty text.
func Quoted(text string) string {
	if text == "" {
		return "-"
	}
	for _, r := range text {
		if !strconv.IsPrint(r) {
			return strconv.Quote(text)
		}
	}
	return text
}

// Moment returns a time in RFC 3339; empty for the zero time.
func Moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// Plural returns n with the word in its number.
func Plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}

// Count is Plural of a number that may be unknown.
func Count(n *int, word string) string {
	if n == nil {
		return "unknown"
	}
	return Plural(*n, word)
}

// Duration returns a duration in at most two units: 45s, 12m, 2h5m, 3d4h. 0 for a negative one.
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	unit := func(n time.Duration, name string) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(int64(n), 10) + name
	}
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Minute:
		return unit(d/time.Second, "s")
	case d < time.Hour:
		return unit(d/time.Minute, "m")
	case d < 2*day:
		return unit(d/time.Hour, "h") + unit(d%time.Hour/time.Minute, "m")
	}
	return unit(d/day, "d") + unit(d%day/time.Hour, "h")
}

// NoResults says why no result of a redrive arrives.
func NoResults(n ops.NoResults) string {
	if n.Err != nil {
		return "no result has arrived, and the state of the instances is unknown: " + n.Err.Error()
	}
	text := "no result has arrived yet; " + Plural(n.Instances, "instance") + " in the group"
	if len(n.Causes) > 0 {
		causes := make([]string, len(n.Causes))
		for i, c := range n.Causes {
			causes[i] = c.Cause + " since " + Moment(c.Since)
		}
		text += "; calls are paused: " + strings.Join(causes, ", ")
	}
	return text
}
