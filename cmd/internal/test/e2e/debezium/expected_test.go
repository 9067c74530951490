package debezium

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"membersync/crmapi/crmapitest"
)

// A crm holds the fields of each member, as JSON without white space.
type crm map[string]map[string]string

// apply sets what the rows require. A value without a meaning in the CRM (a NULL in a column that
// cannot be cleared, another gender, an infinite date) leaves the field unchanged, and so does a
// column that the table lacks.
func (c crm) apply(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		id := r.get("crm_open_user_id")
		if id == "" {
			continue
		}
		if c[id] == nil {
			c[id] = map[string]string{}
		}
		maps.Copy(c[id], member(t, r))
	}
}

// snapshotOf returns the state of the CRM.
func snapshotOf(t *testing.T, server *crmapitest.Server) crm {
	t.Helper()
	got := crm{}
	for id, fields := range server.Snapshot() {
		got[id] = make(map[string]string, len(fields))
		for name, raw := range fields {
			var value any
			if err := json.Unmarshal(raw, &value); err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			got[id][name] = string(text)
		}
	}
	return got
}

// clone returns a copy.
func (c crm) clone() crm {
	copied := make(crm, len(c))
	for id, fields := range c {
		copied[id] = maps.Clone(fields)
	}
	return copied
}

// changed counts the members whose fields differ from an earlier state.
func (c crm) changed(since crm) (n int) {
	for id, fields := range c {
		if !maps.Equal(fields, since[id]) {
			n++
		}
	}
	return n
}

// differences returns the differing members by the name of the field.
func (c crm) differences(got crm) map[string][]string {
	found := map[string][]string{}
	for id := range merged(c, got) {
		for field := range merged(c[id], got[id]) {
			if c[id][field] != got[id][field] {
				found[field] = append(found[field], id)
			}
		}
	}
	for _, ids := range found {
		slices.Sort(ids)
	}
	return found
}

// merged returns the keys of both maps.
func merged[V any](a, b map[string]V) map[string]bool {
	keys := make(map[string]bool, len(a))
	for _, m := range []map[string]V{a, b} {
		for key := range m {
			keys[key] = true
		}
	}
	return keys
}

// member returns what one row says about its member.
func member(t *testing.T, r row) map[string]string {
	t.Helper()
	fields := map[string]string{}
	set := func(field, value string) {
		if value != "" {
			fields[field] = quoted(value)
		}
	}
	set("name", r.get("nickname"))
	set("fullName", r.get("full_name"))
	set("employeeNumber", r.get("emp_no"))
	set("gender", map[string]string{"M": "M", "F": "F", "male": "M", "female": "F"}[r.get("gender")])
	set("mobile", strings.NewReplacer("+86", "", " ", "", "-", "").Replace(r.get("mobile")))
	set("hireDate", millis(t, r.get("hire_date")))
	set("birthDate", millis(t, r.get("birth_date")))
	if id := r.get("dept_id"); id != "" {
		fields["mainDepartmentId"] = id
	}
	for column, field := range map[string]string{"title": "position", "email": "email"} {
		if _, inTable := r[column]; inTable {
			fields[field] = quoted(r.get(column))
		}
	}
	if _, inTable := r["extra_depts"]; inTable {
		fields["attachingDepartmentIds"] = "[" + strings.Trim(r.get("extra_depts"), "{}") + "]"
	}
	return fields
}

// millis returns a day or a wall-clock time in Shanghai as epoch milliseconds. It returns an empty
// text for no time and for an infinite one.
func millis(t *testing.T, text string) string {
	t.Helper()
	if text == "" || text == "infinity" || strings.HasPrefix(text, "9999-12-31") || strings.HasPrefix(text, "0000-00-00") {
		return ""
	}
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.ParseInLocation(time.DateTime[:len(text)], text, zone)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatInt(at.UnixMilli(), 10)
}

func quoted(text string) string {
	b, _ := json.Marshal(text) //nolint:errchkjson // a text always has a form in JSON
	return string(b)
}

// summary describes differences with a few of the members.
func summary(differences map[string][]string) string {
	var parts []string
	for _, field := range slices.Sorted(maps.Keys(differences)) {
		ids := differences[field]
		parts = append(parts, fmt.Sprintf("%s of %d members, such as %s", field, len(ids), strings.Join(ids[:min(3, len(ids))], ", ")))
	}
	return strings.Join(parts, "; ")
}
