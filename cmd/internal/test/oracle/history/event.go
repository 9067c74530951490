package history

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// An event is what one source record states.
type event struct {
	rec     Record
	id      string
	member  string
	order   string            // compared as text: the newest is the largest
	states  map[string]string // by field, as the CRM receives it
	poison  string            // the reason of the dead letter that it must become without a call
	refusal string            // the reason with which the CRM rejects it
	bad     string            // the field that the CRM rejects; empty: all
	ignored bool
	from    time.Time // when it was produced
	number  int       // number of the redrive; 0: the original
	// mayBeLost means that its topic was deleted before its offset was committed.
	mayBeLost bool
}

// key returns the event's identity. The same id with another order value is another event, and so
// is a redrive.
func (e *event) key() string {
	key := e.id + " " + e.order[:orderWidth]
	if e.number > 0 {
		key += fmt.Sprintf(" redrive %d of %s", e.number, e.place())
	}
	return key
}

func (e *event) place() place { return place{e.rec.Generation, e.rec.Partition, e.rec.Offset} }

const orderWidth = 20

func (w World) read(r Record) *event {
	e := &event{rec: r, from: r.Time, states: make(map[string]string)}
	e.order = strings.Repeat("0", orderWidth)
	if len(r.Key)+len(r.Value) > w.MaxRecordBytes || !w.isRead(r) {
		e.poison = "oversized"
		return e
	}
	if r.Value == nil { // tombstone
		e.ignored = true
		return e
	}
	var doc map[string]jsontext.Value
	if len(r.Value) == 0 || json.Unmarshal(r.Value, &doc) != nil {
		e.poison = "malformed"
		return e
	}
	if !e.identify(doc) {
		e.poison = "invalid_event"
		return e
	}
	if !e.compare(doc) {
		e.poison = "invalid_field"
		return e
	}
	w.predict(e)
	return e
}

// isRead reports whether a record is within the bounds of what the service reads.
func (w World) isRead(r Record) bool {
	return (w.MaxFetched == 0 || len(r.Key)+len(r.Value) <= w.MaxFetched) && (w.MaxHeaders == 0 || len(r.Headers) <= w.MaxHeaders)
}

func (e *event) identify(doc map[string]jsontext.Value) bool {
	id, employee, member := text(doc["eventId"]), text(doc["employeeId"]), text(doc["openUserId"])
	sequence := string(doc["sequence"])
	if doc["sequence"].Kind() == '"' {
		sequence = text(doc["sequence"])
	}
	n, err := strconv.ParseUint(sequence, 10, 64)
	if err != nil || n > 9999999999999999999 || id == "" || employee == "" || member == "" {
		return false
	}
	e.id, e.member = id, member
	e.order = fmt.Sprintf("%020d%015d%010d%019d", n, e.rec.Time.UnixMilli(), e.rec.Partition, e.rec.Offset)
	before, after := doc["before"], doc["after"]
	e.ignored = after.Kind() == 'n' && before.Kind() == '{'
	return e.ignored || after.Kind() == '{'
}

// compare finds the fields that the event states: after has them, and before lacks them or differs.
func (e *event) compare(doc map[string]jsontext.Value) bool {
	var before, after map[string]jsontext.Value
	if e.ignored || json.Unmarshal(doc["after"], &after) != nil {
		return e.ignored
	}
	if doc["before"].Kind() == '{' && json.Unmarshal(doc["before"], &before) != nil {
		return false
	}
	for name, now := range after {
		if was, known := before[name]; known && string(was) == string(now) {
			continue
		}
		value, ok := normalise(name, now)
		if !ok {
			return false
		}
		if old, ok := normalise(name, before[name]); !ok || old != value {
			e.states[name] = value
		}
	}
	return true
}

// normalise returns a value as the CRM receives it. It covers only values that the simulation
// generates.
func normalise(name string, v jsontext.Value) (string, bool) {
	switch name {
	case "position", "email", "qq", "weixin":
		if v.Kind() == 'n' {
			return `""`, true
		}
		return string(v), v.Kind() == '"'
	case "fullName", "mobile", "employeeNumber":
		return string(v), v.Kind() == '"' && len(v) > 2
	case "gender":
		return string(v), string(v) == `"M"` || string(v) == `"F"`
	case "hireDate":
		return `"` + string(v) + `"`, v.Kind() == '0'
	case "mainDepartmentId":
		return string(v), v.Kind() == '0'
	}
	return "", false
}

// predict computes how the CRM must respond to the event.
func (w World) predict(e *event) {
	known := false
	for _, m := range w.Members {
		known = known || m == e.member
	}
	if !known {
		e.refusal = "crm_not_found"
		return
	}
	for name, value := range e.states {
		switch {
		case name == "mainDepartmentId" && !w.departmentExists(value):
			e.refusal, e.bad = "crm_not_found", name
		case strings.HasPrefix(value, `"`+w.Refused):
			e.refusal, e.bad = "crm_invalid", name
		case strings.HasPrefix(value, `"`+w.Rejected):
			e.refusal, e.bad = "crm_rejected", name
		}
	}
}

func (w World) departmentExists(value string) bool {
	n, err := strconv.ParseInt(value, 10, 64)
	return err == nil && n >= 1 && n <= w.Departments
}

func text(v jsontext.Value) string {
	var s string
	if v.Kind() != '"' || json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// userOf reads the fields of an update.
func userOf(user []byte) (map[string]string, bool) {
	var doc map[string]jsontext.Value
	if json.Unmarshal(user, &doc) != nil {
		return nil, false
	}
	fields := make(map[string]string, len(doc))
	for name, v := range doc {
		if name != "openUserId" {
			fields[name] = string(v)
		}
	}
	return fields, true
}
