package mapper

import (
	"strings"
	"time"
)

// parseLayout parses a text by a layout of Go, exactly: time.Parse alone takes more than the layout
// says (go.dev/issue/54580). Names of months and days may be in any case. Of zones by name only GMT
// and UTC are known, since others have several meanings.
func parseLayout(layout, s string) (t time.Time, hasZone, ok bool) {
	t, err := time.Parse(layout, s)
	if err != nil || !strings.EqualFold(t.Format(layout), s) {
		return t, false, false
	}
	named := strings.Contains(layout, "MST")
	hasZone = named || strings.Contains(layout, "Z07") || strings.Contains(layout, "-07")
	if name, _ := t.Zone(); named && name != "UTC" && name != "GMT" {
		return t, false, false
	}
	return t, hasZone, true
}

// layoutProblem says what a layout lacks to name one day: a year of four digits, a month and a day.
func layoutProblem(layout string) string {
	for _, day := range []time.Time{
		time.Date(1987, 11, 26, 13, 4, 5, 0, time.UTC), time.Date(2041, 2, 3, 21, 14, 15, 0, time.UTC), time.Date(1906, 7, 19, 7, 8, 9, 0, time.UTC),
	} {
		t, err := time.Parse(layout, day.Format(layout))
		if err != nil || t.Year() != day.Year() || t.YearDay() != day.YearDay() {
			return "should be a Go reference time with a year of four digits, a month and a day, such as 02.01.2006"
		}
		if t.Hour() != 0 && t.Hour() != day.Hour() {
			return "should tell the hours before noon from those after it: 15, or 03 with PM"
		}
	}
	return ""
}
