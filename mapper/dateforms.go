package mapper

import (
	"strconv"
	"strings"
	"time"
)

// parseShape parses a text whose digits stand where shape has zeros. time.Parse alone
// would take more than the layout says (go.dev/issue/54580).
func parseShape(s, shape, layout string, zone *time.Location) (t time.Time, ok bool) {
	if !hasShape(s, shape) {
		return t, false
	}
	t, err := time.ParseInLocation(layout, s, zone)
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

// parseLocal parses a date and a time of day without an offset: a T or a space between
// them, seconds and up to nine digits of them optional.
func parseLocal(s string, zone *time.Location) (t time.Time, ok bool) {
	if len(s) < len("2006-01-02T15:04") || s[10] != 'T' && s[10] != ' ' {
		return t, false
	}
	day, clock := s[:10], s[11:]
	whole, fraction, dotted := strings.Cut(clock, ".")
	if dotted && (!isDigits(fraction) || len(fraction) > 9 || len(whole) != len("15:04:05")) {
		return t, false
	}
	if !hasShape(day, "0000-00-00") || !hasShape(whole, "00:00:00") && !hasShape(whole, "00:00") {
		return t, false
	}
	layout := "2006-01-02 15:04:05"
	if len(whole) == len("15:04") {
		layout = "2006-01-02 15:04"
	}
	t, err := time.ParseInLocation(layout, day+" "+clock, zone)
	return t, err == nil
}

// parseOffset parses a local time with an offset behind it in any usual form.
func parseOffset(s string) (t time.Time, ok bool) {
	local, zone, ok := cutOffset(s)
	if !ok {
		return t, false
	}
	return parseLocal(strings.TrimSuffix(local, " "), zone)
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

// parseSlash parses 2006/1/2 and parseChinese 2006年1月2日, with or without zeros before the month and the day.
func parseSlash(s string, zone *time.Location) (t time.Time, ok bool) {
	return parseParts(s, "/", "/", "", zone)
}

func parseChinese(s string, zone *time.Location) (t time.Time, ok bool) {
	return parseParts(s, "年", "月", "日", zone)
}

func parseParts(s, afterYear, afterMonth, afterDay string, zone *time.Location) (t time.Time, ok bool) {
	year, rest, ok1 := strings.Cut(s, afterYear)
	month, rest, ok2 := strings.Cut(rest, afterMonth)
	day, ok3 := strings.CutSuffix(rest, afterDay)
	if !ok1 || !ok2 || !ok3 || len(year) != 4 || len(month) > 2 || len(day) > 2 || !isDigits(month) || !isDigits(day) {
		return t, false
	}
	pad := func(s string) string { return strings.Repeat("0", 2-len(s)) + s }
	return parseShape(year+"-"+pad(month)+"-"+pad(day), "0000-00-00", time.DateOnly, zone)
}
