package mapper_test

import (
	"fmt"
	"strings"
	"testing"

	"membersync/crmapi"
	"membersync/mapper"
)

// canary stands for personal data; canaryNumber for such data written as a number.
const (
	canary       = "CanaryValue"
	canaryNumber = "7773337773337"
)

// TestFaultsRepeatNoValue spoils an event full of canaries in every way that comes to
// mind and looks for them in all that an error or a printed result shows.
func TestFaultsRepeatNoValue(t *testing.T) {
	t.Parallel()
	mappings := []*mapper.Mapping{builtin(t, "canonical", mapper.Options{}), builtin(t, "canonical-time", options())}
	rejected := 0
	for _, value := range spoiled() {
		for _, m := range mappings {
			got := only(t, m, record(value))
			if got.Fault != nil {
				rejected++
			}
			for _, shown := range shown(got) {
				if holdsCanary(shown) {
					t.Fatalf("%.200s shows %s", value, shown)
				}
			}
		}
	}
	if rejected < 1000 {
		t.Errorf("only %d values were rejected: the test does not test", rejected)
	}
}

func holdsCanary(s string) bool {
	return strings.Contains(s, canary) || strings.Contains(s, canaryNumber)
}

// shown lists what of a result may be logged. That is all of it, unless a canary went into an id.
func shown(r mapper.Result) []string {
	var s []string
	if r.Fault != nil {
		s = append(s, r.Fault.Error(), r.Fault.Text, r.Fault.Path, fmt.Sprintf("%+v %#v", r.Fault, *r.Fault))
	}
	if e := r.Event; !holdsCanary(e.ID + e.EmployeeID + e.OpenUserID + e.Order) {
		s = append(s, fmt.Sprintf("%v %+v", r, r), fmt.Sprintf("%#v", e))
	}
	return s
}

// spoiled returns events with canaries of every shape in every member, and cut off,
// doubled and broken at every byte.
func spoiled() (values []string) {
	shapes := []string{
		`"` + canary + `"`, canaryNumber, `-` + canaryNumber + `.5e-7`, canaryNumber + `e500`,
		`{"` + canary + `":"` + canary + `"}`, `["` + canary + `",` + canaryNumber + `]`, `[` + canaryNumber + `e9]`,
		`[-` + canaryNumber + `]`, `{"` + canary + `":1,"` + canary + `":2}`, `"` + canary + `\x"`, `"` + canary + "\xff\"",
		`"` + canary + `*"`, `"` + canaryNumber + `-01-01"`, `"2023-01-01T00:00:00 ` + canary + `"`, canary, `"` + canary,
	}
	for f := range crmapi.Field(crmapi.NumFields) {
		for _, shape := range shapes {
			values = append(values,
				envelope(`"after":{"`+f.String()+`":`+shape+`}`),
				envelope(`"before":{"`+f.String()+`":`+shape+`},"after":{"gender":"X"}`),
				envelope(`"before":`+shape+`,"after":{}`), envelope(`"after":`+shape), shape)
		}
	}
	for _, name := range []string{"eventId", "employeeId", "openUserId", "sequence", "occurredAt", canary} {
		for _, shape := range shapes {
			values = append(values, `{"`+name+`":`+shape+`,"after":{}}`, `{"`+strings.ToUpper(name)+`":`+shape+`}`)
		}
	}
	full := envelope(`"` + canary + `":[` + canaryNumber + `],"after":{"name":"` + canary + `","mobile":"` + canaryNumber + `","` + canary + `":"` + canary + `"}`)
	for i := range full {
		values = append(values, full[:i], full[:i]+"\x80"+full[i+1:], full[:i]+`"`+full[i+1:], full[:i]+full[i+1:], full[:i]+canary+full[i:])
	}
	return values
}
