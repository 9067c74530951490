package crmapi

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Row is the meaning of one error code of the CRM.
type Row struct {
	Class          Class
	Reason         Reason // set for poison only
	OutcomeUnknown bool   // whether the CRM may still apply the update
}

// A Table contains rows in addition to the published error codes. A row for a published code
// replaces the published one. A nil Table contains only the published rows.
type Table map[int]Row

// Lookup returns the row of an error code and whether there is one.
func (t Table) Lookup(code int) (Row, bool) {
	row, known := lookupPublished(code)
	extra, ok := t[code]
	if !ok {
		return row, known
	}
	// Another class for a code does not make the outcome of the call known.
	extra.OutcomeUnknown = extra.OutcomeUnknown || row.OutcomeUnknown
	return extra, true
}

// Codes returns every code that the table contains, in ascending order.
func (t Table) Codes() []int {
	all := make(map[int]bool)
	for _, r := range publishedRanges() {
		for code := r.from; code <= r.to; code++ {
			all[code] = true
		}
	}
	for code := range t {
		all[code] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// lookupPublished returns the published row of an error code, and whether there is one.
func lookupPublished(code int) (Row, bool) {
	for _, r := range publishedRanges() {
		if r.from <= code && code <= r.to {
			return r.row, true
		}
	}
	return Row{}, false
}

// A codeRange is a range of codes with the same meaning. Both ends are included.
type codeRange struct {
	from, to int
	row      Row
}

// publishedRanges returns the published error table. If several ranges contain a code, the first
// one applies.
func publishedRanges() [25]codeRange {
	var (
		transient = Row{Class: ClassTransient}
		throttled = Row{Class: ClassThrottled}
		token     = Row{Class: ClassToken}
		refused   = Row{Class: ClassRefused}
		notFound  = Row{Class: ClassPoison, Reason: ReasonNotFound}
		invalid   = Row{Class: ClassPoison, Reason: ReasonInvalid}
	)
	return [...]codeRange{
		{0, 0, Row{Class: ClassSuccess}},
		{-1, -1, transient}, // system busy
		{-2, -2, transient}, // system error
		{50009, 50009, Row{Class: ClassTransient, OutcomeUnknown: true}}, // service exception, for example a timeout
		{14001, 14001, throttled},              // call limit
		{30004, 30004, throttled},              // per-second limit
		{30002, 30002, Row{Class: ClassQuota}}, // daily quota used up
		{30003, 30003, refused},                // no quota purchased
		{20016, 20016, token},                  // token missing or expired
		{20005, 20005, token},                  // token missing or expired
		{20006, 20006, refused},                // bad app ID or secret
		{20015, 20015, refused},                // bad permanent code
		{20017, 20017, refused},                // bad permanent code
		{10006, 10006, refused},                // corpId not found
		{15003, 15003, refused},                // no permission
		{20014, 20014, refused},                // app disabled or not authorized
		{20020, 20023, refused},                // app disabled or not authorized
		{20012, 20012, notFound},               // openUserId
		{30027, 30027, notFound},               // employee
		{30007, 30007, notFound},               // department
		{10001, 10015, invalid},                // parameter; 10006 has its own row above
		{11001, 11018, invalid},                // parameter
		{12004, 12004, invalid},                // parameter
		{15002, 15002, invalid},                // parameter
		{32000, 32000, invalid},                // parameter
	}
}

// A RowError is one fault in the text of a table.
type RowError struct {
	Row     int    // counted from 1
	Text    string // unchanged from the input
	Problem string
}

// Error returns which row is wrong, and why.
func (e *RowError) Error() string {
	return fmt.Sprintf("row %d %q: %s", e.Row, e.Text, e.Problem)
}

// ParseTable parses rows such as "201112011:poison:crm_invalid,201112012:transient". The third part
// is the reason of poison; the default is crm_rejected. The error reports all faults at once, each
// as a [*RowError]. An empty text is a nil Table.
func ParseTable(text string) (Table, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	table := make(Table)
	var faults []error
	for i, item := range strings.Split(text, ",") {
		code, row, problem := parseRow(strings.TrimSpace(item))
		if _, duplicate := table[code]; problem == "" && duplicate {
			problem = "duplicate code"
		}
		if problem != "" {
			faults = append(faults, &RowError{Row: i + 1, Text: item, Problem: problem})
			continue
		}
		table[code] = row
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return table, nil
}

func parseRow(item string) (code int, row Row, problem string) {
	parts := strings.Split(item, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, row, "want code:class or code:poison:reason"
	}
	code, err := strconv.Atoi(parts[0])
	if err != nil {
		return 0, row, "the code is not an integer"
	}
	if code == 0 {
		return 0, row, "code 0 is always success"
	}
	class, ok := ParseClass(parts[1])
	if !ok || class == ClassSuccess || class == ClassUnacknowledged {
		return 0, row, "the class must be poison, transient, throttled, quota, token or refused"
	}
	reason, problem := parseReason(class, parts[2:])
	return code, Row{Class: class, Reason: reason}, problem
}

func parseReason(class Class, given []string) (reason Reason, problem string) {
	switch {
	case class != ClassPoison && len(given) > 0:
		return "", "only the class poison has a reason"
	case class != ClassPoison:
		return "", ""
	case len(given) == 0:
		return ReasonRejected, ""
	case !Reason(given[0]).valid():
		return "", "the reason must be crm_not_found, crm_invalid or crm_rejected"
	}
	return Reason(given[0]), ""
}
