package mapper

import "time"

// startOfDay returns the first instant of a day in a zone: midnight, the earlier one where a change
// of summer time makes two, or the change itself where midnight does not exist.
func startOfDay(year int, month time.Month, day int, zone *time.Location) time.Time {
	t := time.Date(year, month, day, 0, 0, 0, 0, zone)
	start, end := t.ZoneBounds()
	if t.Hour() != 0 || t.Minute() != 0 || t.Second() != 0 { // midnight was skipped
		if sameDay(t, year, month, day) {
			return start
		}
		return end
	}
	if start.IsZero() {
		return t
	}
	_, before := start.Add(-1).Zone()
	_, now := t.Zone()
	if earlier := t.Add(time.Duration(now-before) * time.Second); before > now && earlier.Before(start) {
		return earlier
	}
	return t
}

func sameDay(t time.Time, year int, month time.Month, day int) bool {
	wanted := time.Date(year, month, day, 0, 0, 0, 0, time.UTC) // day may lie beyond its month
	y, m, d := t.Date()
	return y == wanted.Year() && m == wanted.Month() && d == wanted.Day()
}

// inZone reads the clock of t as that of zone. A time of day of 0 is the start of the day.
func inZone(t time.Time, zone *time.Location) time.Time {
	if t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0 && t.Nanosecond() == 0 {
		return startOfDay(t.Year(), t.Month(), t.Day(), zone)
	}
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
}
