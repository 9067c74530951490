package mapper

import (
	"strings"
	"time"
)

// A dateRule says how a source writes times.
type dateRule struct {
	formats []dateFormat
	layouts []string // of Go, tried after the formats
	unit    dateUnit
	zone    *time.Location // of what is written without one; nil: refused
	wall    bool           // numbers, and texts with a Z, have wall-clock time, as if it were UTC
}

type dateFormat uint8

const (
	formatRFC3339 dateFormat = iota
	formatOffset             // any offset: +0800, +08, +08:00, Z; T or a space before the time
	formatLocal              // no offset
	formatDate               // 2006-01-02
	formatCompact            // 20060102
	formatSlash              // 2006/1/2
	formatChinese            // 2006年1月2日
	formatOData              // /Date(1489708800000+0000)/
)

// dateFormats lists the names of the formats, each at its number.
func dateFormats() []string {
	return []string{"rfc3339", "offset", "local", "date", "compact", "slash", "chinese", "odata"}
}

type dateUnit uint8

const (
	noUnit dateUnit = iota
	seconds
	millis
	micros
	nanos
	days
)

// dateUnits lists the names of the units, each at its number.
func dateUnits() []string { return []string{"", "s", "ms", "us", "ns", "days"} }

const (
	notWithin = "is not within the years 1 to 9999"
	noZone    = "is without a zone, and no zone is configured"
)

// read returns the instant that a value means, and whether its day is 9999-12-31, which
// some sources write for "no end".
func (r *dateRule) read(l leaf) (t time.Time, noEnd bool, problem string) {
	switch {
	case l.isNumber(), l.isText() && r.unit != noUnit && isDecimal(l.s):
		t, problem = r.number(l.s)
	case l.isText():
		t, problem = r.text(l.s)
	default:
		problem = "is " + l.what() + ", not a time"
	}
	if problem != "" {
		return t, false, problem
	}
	switch s := t.Unix(); {
	case s < minDate/1000 || s > maxDate/1000:
		return t, false, notWithin
	case s < firstDate/1000:
		return t, false, noDate
	}
	year, month, day := t.Date()
	return t, year == 9999 && month == time.December && day == 31, ""
}

// isEndless recognizes PostgreSQL's infinity: as text, and as its driver and Debezium count it.
// Days overflow in Debezium: one way in changes, another in snapshots, which depends on the zone of
// its JVM. Other numbers beyond the year 9999 are of another unit, most likely.
func (r *dateRule) isEndless(s string) bool {
	switch strings.ToLower(s) {
	case "infinity", "2147483647", "9223372036825200000", "9223372036854775807":
		return true
	case "9223372036825200":
		return r.unit == millis
	case "-2147472692", "-622191234", "-622191233":
		return r.unit == days
	}
	return false
}

// isDecimal reports whether s is spelled as a JSON number without an exponent is.
func isDecimal(s string) bool {
	whole, fraction, dotted := strings.Cut(s, ".")
	return isPlainInteger(whole) && (!dotted || isDigits(fraction))
}

// number reads what counts since 1970.
func (r *dateRule) number(s string) (t time.Time, problem string) {
	if r.unit == noUnit {
		return t, "is a number, and the mapping names no unit for it"
	}
	if r.wall && r.zone == nil {
		return t, noZone
	}
	digits, problem := exactInteger(s, 19)
	if problem == notInteger && r.unit == seconds {
		return r.fraction(s)
	}
	if problem != "" {
		return t, problem
	}
	n, problem := parseInteger(digits)
	if problem != "" {
		return t, problem
	}
	switch r.unit {
	case seconds:
		if n < minDate/1000 || n > maxDate/1000 {
			return t, notWithin
		}
		t = time.Unix(n, 0)
	case millis:
		t = time.UnixMilli(n)
	case micros:
		t = time.UnixMicro(n)
	case nanos:
		t = time.Unix(0, n)
	case days:
		return r.day(n)
	case noUnit:
	}
	return r.onTheWall(t), ""
}

// fraction reads seconds with at most nine digits behind the point.
func (r *dateRule) fraction(s string) (t time.Time, problem string) {
	mantissa, exponent, ok := strings.Cut(strings.ToLower(s), "e")
	if ok && exponent != "0" {
		return t, notInteger
	}
	digits, problem := exactInteger(mantissa+"e9", 19)
	if problem != "" {
		return t, "is not a number of seconds with at most nine digits behind the point"
	}
	n, problem := parseInteger(digits)
	return r.onTheWall(time.Unix(0, n)), problem
}

// onTheWall reads the clock of t as that of the zone where the source counts so.
func (r *dateRule) onTheWall(t time.Time) time.Time {
	switch {
	case r.wall:
		return inZone(t.UTC(), r.zone)
	case r.zone != nil:
		return t.In(r.zone)
	}
	return t.UTC()
}

// day reads days since 1970, which begin at midnight in the zone.
func (r *dateRule) day(n int64) (t time.Time, problem string) {
	const most = 4_000_000 // days: beyond the year 9999
	switch {
	case n < -most || n > most:
		return t, notWithin
	case r.zone == nil:
		return t, noZone
	}
	return startOfDay(1970, 1, 1+int(n), r.zone), ""
}

// text tries the formats in turn.
func (r *dateRule) text(s string) (t time.Time, problem string) {
	for _, f := range r.formats {
		at, hasZone, ok := f.parse(s, r.zone)
		switch {
		case !ok:
		case (!hasZone || r.wall) && r.zone == nil:
			return t, noZone
		case hasZone && r.wall && strings.HasSuffix(s, "Z"):
			return inZone(at.UTC(), r.zone), ""
		default:
			return at, ""
		}
	}
	for _, layout := range r.layouts {
		at, hasZone, ok := parseLayout(layout, s)
		switch {
		case !ok:
		case hasZone:
			return at, ""
		case r.zone == nil:
			return t, noZone
		default:
			return inZone(at, r.zone), ""
		}
	}
	var names []string
	for _, f := range r.formats {
		names = append(names, dateFormats()[f])
	}
	names = append(names, r.layouts...)
	if r.unit != noUnit {
		names = append(names, "a number of "+dateUnits()[r.unit])
	}
	return t, "is not a time written as " + oneOf(names)
}

// parse reads a text of this very form. Zone may be nil; hasZone says whether the text
// itself has one.
func (f dateFormat) parse(s string, zone *time.Location) (t time.Time, hasZone, ok bool) {
	switch f {
	case formatRFC3339:
		t, ok = parseRFC3339(s)
		return t, true, ok
	case formatOffset:
		t, ok = parseOffset(s)
		return t, true, ok
	case formatOData:
		t, ok = parseOData(s)
		return t, true, ok
	case formatLocal:
		t, ok = parseLocal(s)
	case formatDate:
		if t, ok = parseZonedDay(s); ok {
			return t, true, ok
		}
		t, ok = parseDay(s)
	case formatCompact:
		t, ok = parseCompact(s)
	case formatSlash:
		t, ok = parseParts(s, "/", "/", "")
	case formatChinese:
		t, ok = parseParts(s, "年", "月", "日")
	}
	if ok && zone != nil {
		t = inZone(t, zone)
	}
	return t, false, ok
}

// oneOf lists names as alternatives: a, b or c.
func oneOf(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
