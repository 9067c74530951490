package mapper

import (
	"strings"
	"time"
)

// The years 1 to 9999 in epoch milliseconds. It also catches micro- and nanoseconds.
const (
	minDate = -62135596800000
	maxDate = 253402300799999
)

// firstDate is the first of January 1000 in epoch milliseconds, less a day for zones. What lies
// before it stands for no date: programs write their earliest one (0001-01-01) where there is none.
const firstDate = -30610310400000

const noDate = "is before the year 1000, which stands for no date"

// parseRFC3339 refuses what time.Parse takes beyond RFC 3339 (go.dev/issue/54580): a
// one-digit hour, a comma before the fraction, an offset of a day or more.
func parseRFC3339(text string) (t time.Time, ok bool) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || text[len("2006-01-02T0")] == ':' || strings.Contains(text, ",") {
		return t, false
	}
	offset := text[len(text)-len("08:00"):]
	return t, text[len(text)-1] == 'Z' || offset[:2] <= "23" && offset[3:] <= "59"
}
