package mapper

import (
	"strconv"
	"strings"
	"time"
)

// The parsers read the clock as if it were UTC; the caller knows the zone.

// parseShape parses a text whose digits stand where shape has zeros. time.Parse alone
// would take more than the layout says (go.dev/issue/54580).
func parseShape(s, shape, layout string) (t time.Time, ok bool) {
	if !hasShape(s, shape) {
		return t, false
	}
	t, err := time.Parse(layout, s)
	return t, err == nil
}

func hasShape(s, shape string) bool {
	if len(s) != len(shape) {
		return false
	}
	for i := range len(s) {
		isDigit := s[i] >= '0' && s[i] <= '9'
		if shape[i] == '0' != isDigit || !isDigit && s[i] != shape[i] {
			return false
		}
	}
	return true
}

// parseLocal parses a date and a time of day without an offset: a T, a space or (GoldenGate) a
// colon between them, seconds and up to nine digits of them optional.
func parseLocal(s string) (t time.Time, ok bool) {
	if len(s) < len("2006-01-02T15:04") || s[10] != 'T' && s[10] != ' ' && s[10] != ':' || !hasShape(s[:10], "0000-00-00") {
		return t, false
	}
	return parseClock(s[:10], s[11:])
}

// parseClock parses a day in the form 2006-01-02 and a time of day. An hour of one digit is the
// caller's to pad.
func parseClock(day, clock string) (t time.Time, ok bool) {
	clock = strings.Replace(clock, ",", ".", 1)
	whole, fraction, dotted := strings.Cut(clock, ".")
	if dotted && (!isDigits(fraction) || len(fraction) > 9 || len(whole) != len("15:04:05")) {
		return t, false
	}
	layout := "2006-01-02 15:04:05"
	switch {
	case hasShape(whole, "00:00:00"):
	case hasShape(whole, "00:00"):
		layout = "2006-01-02 15:04"
	default:
		return t, false
	}
	t, err := time.Parse(layout, day+" "+clock)
	return t, err == nil
}

// parseDay parses 2006-01-02, and with a Z behind it: Debezium's isostring writes one for a column
// without a zone.
func parseDay(s string) (t time.Time, ok bool) {
	return parseShape(strings.TrimSuffix(s, "Z"), "0000-00-00", time.DateOnly)
}

// parseZonedDay parses a day of XML Schema with its zone, such as 2006-01-02+08:00 (xs:date). A
// Z is not read: Debezium's isostring writes it behind days that have no zone.
func parseZonedDay(s string) (t time.Time, ok bool) {
	const day = len("2006-01-02")
	if len(s) != day+len("+08:00") || s[day] != '+' && s[day] != '-' || !hasShape(s[:day], "0000-00-00") {
		return t, false
	}
	return parseRFC3339(s[:day] + "T00:00:00" + s[day:])
}

// parseCompact parses 20060102, and 20060102150405 with nothing, a space or a T before the time.
func parseCompact(s string) (t time.Time, ok bool) {
	for _, form := range [][2]string{
		{"00000000", "20060102"},
		{"00000000000000", "20060102150405"},
		{"00000000 000000", "20060102 150405"},
		{"00000000T000000", "20060102T150405"},
	} {
		if t, ok = parseShape(s, form[0], form[1]); ok {
			return t, true
		}
	}
	return t, false
}

// parseOffset parses a local time with an offset behind it in any usual form, and perhaps the name
// of a zone in brackets (java.time.ZonedDateTime), which the offset makes superfluous.
func parseOffset(s string) (t time.Time, ok bool) {
	if at := strings.IndexByte(s, '['); at > 0 && strings.HasSuffix(s, "]") {
		s = s[:at]
	}
	local, zone, ok := cutOffset(s)
	if !ok {
		return t, false
	}
	if t, ok = parseLocal(strings.TrimSuffix(local, " ")); !ok {
		return t, false
	}
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone), true
}

func cutOffset(s string) (local string, zone *time.Location, ok bool) {
	if rest, isUTC := strings.CutSuffix(s, "Z"); isUTC {
		return rest, time.UTC, true
	}
	at := strings.LastIndexAny(s, "+-")
	if at < len("2006-01-02T15:04") {
		return "", nil, false
	}
	offset := strings.Replace(s[at+1:], ":", "", 1)
	if hasShape(s[at+1:], "00") {
		offset += "00"
	}
	if !hasShape(offset, "0000") || s[at+1:] != offset && !hasShape(s[at+1:], "00") && !hasShape(s[at+1:], "00:00") || offset[:2] > "23" || offset[2:] > "59" {
		return "", nil, false
	}
	hours, _ := strconv.Atoi(offset[:2])   // digits
	minutes, _ := strconv.Atoi(offset[2:]) // digits
	east := hours*3600 + minutes*60
	if s[at] == '-' {
		east = -east
	}
	return s[:at], time.FixedZone("", east), true
}

// parseOData parses /Date(1489708800000)/ and /Date(1489708800000+0000)/: milliseconds
// in UTC; the offset behind them is for display.
func parseOData(s string) (t time.Time, ok bool) {
	inner, ok := strings.CutPrefix(s, "/Date(")
	if !ok {
		return t, false
	}
	inner, ok = strings.CutSuffix(inner, ")/")
	if !ok {
		return t, false
	}
	number := inner
	if at := strings.LastIndexAny(inner, "+-"); at > 0 {
		if !hasShape(inner[at+1:], "0000") {
			return t, false
		}
		number = inner[:at]
	}
	if !isPlainInteger(number) {
		return t, false
	}
	ms, problem := parseInteger(number)
	return time.UnixMilli(ms).UTC(), problem == ""
}

// parseParts parses a day whose parts are followed by these texts, with or without zeros before the
// month and the day, and perhaps a time of day behind a space.
func parseParts(s, afterYear, afterMonth, afterDay string) (t time.Time, ok bool) {
	year, rest, ok1 := strings.Cut(s, afterYear)
	month, rest, ok2 := strings.Cut(rest, afterMonth)
	day, clock := rest, ""
	ok3 := true
	if afterDay != "" {
		day, clock, ok3 = strings.Cut(rest, afterDay)
	} else if at := strings.IndexByte(rest, ' '); at >= 0 {
		day, clock = rest[:at], rest[at:]
	}
	if !ok1 || !ok2 || !ok3 || !hasShape(year, "0000") || len(month) > 2 || len(day) > 2 || !isDigits(month) || !isDigits(day) {
		return t, false
	}
	date := year + "-" + padded(month) + "-" + padded(day)
	if clock == "" {
		return parseShape(date, "0000-00-00", time.DateOnly)
	}
	clock = strings.TrimPrefix(clock, " ")
	if afterDay != "" { // 8时5分, 8时5分0秒
		clock = strings.TrimSuffix(strings.NewReplacer("时", ":", "分", ":", "秒", "").Replace(clock), ":")
	}
	pieces := strings.Split(clock, ":")
	for i := range pieces {
		if len(pieces[i]) == 1 && (i == 0 || afterDay != "") {
			pieces[i] = padded(pieces[i])
		}
	}
	return parseClock(date, strings.Join(pieces, ":"))
}

func padded(s string) string { return strings.Repeat("0", max(2-len(s), 0)) + s }
