package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

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

// An auditLog holds the records of the audit topic.
type auditLog []auditRecord

func (o *scenario) audit() auditLog {
	o.t.Helper()
	var all auditLog
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
func (l auditLog) results() map[string][]string {
	byItem := map[string][]string{}
	for _, a := range l {
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
	for _, one := range o.cli.must("dlq", "list", "--state=all") {
		all[text(one, "id")] = text(one, "state")
	}
	return all
}
