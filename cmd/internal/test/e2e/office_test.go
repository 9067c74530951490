package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/incident"
	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/crmapi/crmapitest"
)

// A scale is the size of an incident.
type scale struct {
	events, each int // in all, and dead letters overtaken fully, partly and not each, at least
	rate         int // of the redrive, a second
}

// incidentScale is small where Kafka and Redis are fakes or the race detector slows everything down, unless
// MEMBERSYNC_TEST_FULL asks for all.
func incidentScale() scale {
	if isReal() && !raced {
		return fullScale()
	}
	return smallScale()
}

// smallScale is small unless MEMBERSYNC_TEST_FULL asks for all.
func smallScale() scale {
	if os.Getenv("MEMBERSYNC_TEST_FULL") != "" {
		return fullScale()
	}
	return scale{events: 240, each: 10, rate: 20}
}

func fullScale() scale { return scale{events: 5000, each: 200, rate: 200} }

// incidentMapping is the mapping of an HR system that names departments by codes of its own.
const incidentMapping = `version: 1
identity: {event_id: $event.eventId, employee_id: $event.employeeId, open_user_id: $event.openUserId}
order: {kind: sequence, from: $event.sequence}
states: {after: $event.after, before: $event.before}
lookups:
  departments: {file: departments.csv}
fields:
  position: position
  email: email
  qq: qq
  weixin: weixin
  gender: {from: gender, male: M, female: F}
  mainDepartmentId: {from: dept, lookup: departments}
`

// An office is a rig for an incident: with a lookup table that lacks a department.
type office struct {
	*rig
	table string // its file
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{rig: newRig(t, setup{partitions: 6, crm: crmapitest.Options{Tokens: []string{token}, AutoCreate: true}})}
	dir := t.TempDir()
	o.table = filepath.Join(dir, "departments.csv")
	o.writeTable(false)
	mapping := filepath.Join(dir, "mapping.yaml")
	if err := os.WriteFile(mapping, []byte(incidentMapping), 0o600); err != nil {
		t.Fatal(err)
	}
	o.variables["MAPPING"], o.variables["CRM_TOKEN"] = mapping, token
	return o
}

func (o *office) writeTable(mended bool) {
	o.t.Helper()
	if err := os.WriteFile(o.table, []byte(incident.Table(incident.Departments(mended))), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

// expect works out what has to come of what the source topic holds.
func (o *office) expect() (incident.Expectation, []outcome.Record) {
	o.t.Helper()
	records, _ := o.records()
	e, err := incident.Expect(records, incident.Departments(false), incident.Departments(true))
	if err != nil {
		o.t.Fatal(err)
	}
	return e, records
}

// members is what the CRM holds.
func (o *office) members() map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, id := range o.crm.Members() {
		all[id] = map[string]string{}
		for name, value := range o.crm.State(id) {
			all[id][name] = string(value)
		}
	}
	return all
}

// wantMembers compares the CRM with what it should hold. A member without a field need not be there.
func (o *office) wantMembers(want map[string]map[string]string) {
	o.t.Helper()
	want = maps.Clone(want)
	maps.DeleteFunc(want, func(_ string, fields map[string]string) bool { return len(fields) == 0 })
	if d := cmp.Diff(want, o.members()); d != "" {
		o.t.Errorf("the members differ from what is expected:\n%s", d[:min(len(d), 3000)])
	}
}

// wantNothingBack wants no call to put an older value over a newer one.
func (o *office) wantNothingBack(e incident.Expectation) {
	o.t.Helper()
	for _, problem := range e.Back(o.appliedCalls()) {
		o.t.Error(problem)
	}
	if n := o.crm.Overlaps(); n > 0 {
		o.t.Errorf("%d calls came while another of the same member was open", n)
	}
}

func (o *office) appliedCalls() []outcome.Call {
	var calls []outcome.Call
	for _, c := range o.crm.Calls() {
		if c.Applied {
			calls = append(calls, outcome.Call{Member: c.OpenUserID, User: c.User, Applied: true})
		}
	}
	return calls
}

// An auditRecord is one of the audit topic, read by hand.
type auditRecord struct {
	Actor   string `json:"actor"`
	Action  string `json:"action"`
	Subject string `json:"subject"`
	Note    string `json:"note"`
	Result  string `json:"result"`
	Detail  struct {
		Number int    `json:"number"`
		By     string `json:"by"`
	} `json:"detail"`
}

func (o *office) audit() []auditRecord {
	o.t.Helper()
	var all []auditRecord
	for _, m := range o.broker.ReadAll(o.t, o.topic+".audit") {
		var one auditRecord
		if err := json.Unmarshal(m.Value, &one); err != nil {
			o.t.Fatalf("%v: %s", err, m.Value)
		}
		all = append(all, one)
	}
	return all
}

// results are those of redrives, by item.
func (o *office) results() map[string][]string {
	o.t.Helper()
	byItem := map[string][]string{}
	for _, a := range o.audit() {
		if a.Action == "redrive_result" {
			byItem[a.Subject] = append(byItem[a.Subject], a.Result)
		}
	}
	return byItem
}

// states are those of all items, as dlq list has them.
func (o *office) states() map[string]string {
	o.t.Helper()
	all := map[string]string{}
	for _, one := range o.must("dlq", "list", "--state=all") {
		all[text(one, "id")] = text(one, "state")
	}
	return all
}
