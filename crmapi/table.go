package crmapi

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Row says what one error code of the CRM means.
type Row struct {
	Class          Class
	Reason         Reason // of poison only
	OutcomeUnknown bool   // the CRM may still apply the update
}

// A Table holds rows that come on top of the published error codes; a row for a published
// code replaces it. A nil Table is the published ones alone.
type Table map[int]Row

// Lookup returns the row of an error code and whether there is one.
func (t Table) Lookup(code int) (Row, bool) {
	row, known := published(code)
	extra, ok := t[code]
	if !ok {
		return row, known
	}
	// Whoever reclassifies a code does not thereby learn how the call ended.
	extra.OutcomeUnknown = extra.OutcomeUnknown || row.OutcomeUnknown
	return extra, true
}

// Codes returns every code that the table knows, in ascending order.
func (t Table) Codes() []int {
	all := make(map[int]bool)
	for _, s := range spans() {
		for code := s.from; code <= s.to; code++ {
			all[code] = true
		}
	}
	for code := range t {
		all[code] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func published(code int) (Row, bool) {
	for _, s := range spans() {
		if s.from <= code && code <= s.to {
			return s.row, true
		}
	}
	return Row{}, false
}

// A span is a run of codes with the same meaning.
type span struct {
	from, to int
	row      Row
}

// spans is the published error table. The first span that holds a code counts.
func spans() [25]span {
	var (
		transient = Row{Class: ClassTransient}
		throttled = Row{Class: ClassThrottled}
		token     = Row{Class: ClassToken}
		refused   = Row{Class: ClassRefused}
		notFound  = Row{Class: ClassPoison, Reason: ReasonNotFound}
		invalid   = Row{Class: ClassPoison, Reason: ReasonInvalid}
	)
	return [...]span{
		{0, 0, Row{Class: ClassSuccess}},
		{-1, -1, transient}, // system busy
		{-2, -2, transient}, // system error
		{50009, 50009, Row{Class: ClassTransient, OutcomeUnknown: true}}, // service exception, for example a time-out
		{14001, 14001, throttled},              // call limit
		{30004, 30004, throttled},              // limit of a second
		{30002, 30002, Row{Class: ClassQuota}}, // daily quota used up
		{30003, 30003, refused},                // no quota purchased
		{20016, 20016, token},                  // token missing or expired
		{20005, 20005, token},                  // token missing or expired
		{20006, 20006, refused},                // bad app id or secret
		{20015, 20015, refused},                // bad permanent code
		{20017, 20017, refused},                // bad permanent code
		{10006, 10006, refused},                // corpId not found
		{15003, 15003, refused},                // no permission
		{20014, 20014, refused},                // app disabled or not authorised
		{20020, 20023, refused},                // app disabled or not authorised
		{20012, 20012, notFound},               // openUserId
		{30027, 30027, notFound},               // employee
		{30007, 30007, notFound},               // department
		{10001, 10015, invalid},                // parameter; 10006 is above
		{11001, 11018, invalid},                // parameter
		{12004, 12004, invalid},                // parameter
		{15002, 15002, invalid},                // parameter
		{32000, 32000, invalid},                // parameter
	}
}

// A RowError is one fault in the text of a table.
type RowError struct {
	Row     int    // counted from 1
	Text    string // as it was given
	Problem string
}

// Error says which row is wrong, and why.
func (e *RowError) Error() string {
	return fmt.Sprintf("row %d %q: %s", e.Row, e.Text, e.Problem)
}

// ParseTable reads rows such as "201112011:poison:crm_invalid,201112012:transient". The third
// part is the reason of poison, crm_rejected if left out. All faults are reported at once, each a [*RowError].
func ParseTable(text string) (Table, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	table := make(Table)
	var faults []error
	for i, item := range strings.Split(text, ",") {
		code, row, problem := parseRow(strings.TrimSpace(item))
		if _, twice := table[code]; problem == "" && twice {
			problem = "the code has a row already"
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
		return 0, row, "0 is success and nothing else"
	}
	class, ok := ParseClass(parts[1])
	if !ok || class == ClassSuccess || class == ClassUnacknowledged {
		return 0, row, "the class is none of poison, transient, throttled, quota, token, refused"
	}
	reason, problem := parseReason(class, parts[2:])
	return code, Row{Class: class, Reason: reason}, problem
}

func parseReason(class Class, given []string) (reason Reason, problem string) {
	switch {
	case class != ClassPoison && len(given) > 0:
		return "", "only poison has a reason"
	case class != ClassPoison:
		return "", ""
	case len(given) == 0:
		return ReasonRejected, ""
	case !Reason(given[0]).valid():
		return "", "the reason is none of crm_not_found, crm_invalid, crm_rejected"
	}
	return Reason(given[0]), ""
}
