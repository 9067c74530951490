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
	events, each int // in all, and at least of dead letters with newer values of all, some and no fields
	rate         int // of the redrive, per second
}

// incidentScale is small if Kafka and Redis are fakes or the race detector slows everything down,
// unless MEMBERSYNC_TEST_FULL asks for the full size.
func incidentScale() scale {
	if isReal() && !raced {
		return fullScale()
	}
	return smallScale()
}

// smallScale is small unless MEMBERSYNC_TEST_FULL asks for the full size.
func smallScale() scale {
	if os.Getenv("MEMBERSYNC_TEST_FULL") != "" {
		return fullScale()
	}
	return scale{events: 240, each: 10, rate: 20}
}

func fullScale() scale { return scale{events: 5000, each: 200, rate: 200} }

// incidentMapping is the mapping of an HR system with its own department codes.
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

// A scenario is a rig for an incident. Its lookup table lacks a department.
type scenario struct {
	*rig
	table string // path of its file
}

func newScenario(t *testing.T) *scenario {
	t.Helper()
	o := &scenario{rig: newRig(t, setup{partitions: 6, crm: crmapitest.Options{Tokens: []string{token}, AutoCreate: true}})}
	dir := t.TempDir()
	o.table = filepath.Join(dir, "departments.csv")
	o.writeTable(false)
	mapping := filepath.Join(dir, "mapping.yaml")
	if err := os.WriteFile(mapping, []byte(incidentMapping), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Variables["MAPPING"] = mapping
	return o
}

func (o *scenario) writeTable(fixed bool) {
	o.t.Helper()
	if err := os.WriteFile(o.table, []byte(incident.Table(incident.Departments(fixed))), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

// expect computes the required result of the source topic's records.
func (o *scenario) expect() (incident.Expectation, []outcome.Record) {
	o.t.Helper()
	records, _ := o.records()
	e, err := incident.Expect(records, incident.Departments(false), incident.Departments(true))
	if err != nil {
		o.t.Fatal(err)
	}
	return e, records
}

// members returns the state of the CRM.
func (o *scenario) members() map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, id := range o.CRM.Members() {
		all[id] = map[string]string{}
		for name, value := range o.CRM.State(id) {
			all[id][name] = string(value)
		}
	}
	return all
}

// wantMembers compares the CRM with the required state. A member without fields may be missing.
func (o *scenario) wantMembers(want map[string]map[string]string) {
	o.t.Helper()
	want = maps.Clone(want)
	maps.DeleteFunc(want, func(_ string, fields map[string]string) bool { return len(fields) == 0 })
	if d := cmp.Diff(want, o.members()); d != "" {
		o.t.Errorf("the members differ from what is expected:\n%s", d[:min(len(d), 3000)])
	}
}

// wantNothingBack checks that no call replaced a newer value with an older one.
func (o *scenario) wantNothingBack(e incident.Expectation) {
	o.t.Helper()
	for _, problem := range e.Back(o.appliedCalls()) {
		o.t.Error(problem)
	}
	if n := o.CRM.Overlaps(); n > 0 {
		o.t.Errorf("%d calls came while another of the same member was open", n)
	}
}

func (o *scenario) appliedCalls() []outcome.Call {
	var calls []outcome.Call
	for _, c := range o.CRM.Calls() {
		if c.Applied {
			calls = append(calls, outcome.Call{Member: c.OpenUserID, User: c.User, Applied: true})
		}
	}
	return calls
}

// An auditRecord is a record of the audit topic, read without package dlq.
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

func (o *scenario) audit() []auditRecord {
	o.t.Helper()
	var all []auditRecord
	for _, m := range o.Broker.ReadAll(o.t, o.Topic+".audit") {
		var one auditRecord
		if err := json.Unmarshal(m.Value, &one); err != nil {
			o.t.Fatalf("%v: %s", err, m.Value)
		}
		all = append(all, one)
	}
	return all
}

// results returns the results of redrives, by item.
func (o *scenario) results() map[string][]string {
	o.t.Helper()
	byItem := map[string][]string{}
	for _, a := range o.audit() {
		if a.Action == "redrive_result" {
			byItem[a.Subject] = append(byItem[a.Subject], a.Result)
		}
	}
	return byItem
}

// states returns the states of all items from dlq list.
func (o *scenario) states() map[string]string {
	o.t.Helper()
	all := map[string]string{}
	for _, one := range o.must("dlq", "list", "--state=all") {
		all[text(one, "id")] = text(one, "state")
	}
	return all
}
