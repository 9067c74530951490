// Package times reads times and durations as they are given to commands and pages.
package times

import (
	"strconv"
	"strings"
	"time"
)

// Want says what [Parse] takes.
const Want = "a time such as 2026-11-22T08:00:00Z, or how long ago, such as 2h or 3d4h"

const day = 24 * time.Hour

// Parse reads a time: in RFC 3339, or as how long before now it was, in the form of
// [ParseDuration].
func Parse(text string, now time.Time) (time.Time, bool) {
	if ago, ok := ParseDuration(text); ok {
		return now.Add(-ago), true
	}
	at, err := time.Parse(time.RFC3339, text)
	return at, err == nil
}

// ParseDuration reads a duration that is not negative, as [time.ParseDuration] does, and in
// addition with a number of days of 24 hours in front: 90s, 2h, 3d, 3d4h.
func ParseDuration(text string) (time.Duration, bool) {
	number, rest, hasDays := strings.Cut(text, "d")
	if !hasDays {
		number, rest = "0", text
	}
	days, err := strconv.ParseUint(number, 10, 16)
	if err != nil || strings.HasPrefix(rest, "+") {
		return 0, false
	}
	d := time.Duration(days) * day
	if hasDays && rest == "" {
		return d, true
	}
	more, err := time.ParseDuration(rest)
	return d + more, err == nil && more >= 0 && d+more >= 0
}
