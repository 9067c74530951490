package mapper

import (
	"strconv"
	"strings"
	"time"

	"membersync/crmapi"
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

// dateReader normalises RFC 3339, a date, and epoch milliseconds to the CRM's form:
// epoch milliseconds as a decimal text. A date is midnight in zone.
func dateReader(zone *time.Location) reader {
	return func(l lexeme) (v crmapi.Value, problem string) {
		ms, problem := milliseconds(l, zone)
		switch {
		case problem != "":
			return v, problem
		case ms < minDate || ms > maxDate:
			return v, notWithin
		case ms < firstDate:
			return v, noDate
		}
		return crmapi.Text(strconv.FormatInt(ms, 10)), ""
	}
}

func milliseconds(l lexeme, zone *time.Location) (ms int64, problem string) {
	if !l.isText() {
		return l.integer()
	}
	text := l.text()
	if isPlainInteger(text) {
		return l.integer()
	}
	if t, ok := parseRFC3339(text); ok {
		return t.UnixMilli(), ""
	}
	day, err := time.Parse(time.DateOnly, text)
	switch {
	case err != nil:
		return 0, "is neither RFC 3339 nor a date nor epoch milliseconds"
	case zone == nil:
		return 0, "is a date without a zone, and no zone is configured"
	}
	return startOfDay(day.Year(), day.Month(), day.Day(), zone).UnixMilli(), ""
}

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
