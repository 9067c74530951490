package outcome

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// A DeadLetter is a dead letter that must exist.
type DeadLetter struct {
	Record              Record
	ID, Reason, Stage   string
	EventID, EmployeeID string // if the record states them
	Whole               bool   // the whole record failed: no index and no count
	Code                string // of the CRM, if the CRM rejected it
}

// A decision is what one record states.
type decision struct {
	deadLetter *DeadLetter // nil: not poison

	eventID, employee, member string
	order                     uint64
	changes                   map[string]string // the fields that it states, as the CRM receives them
}

func (w World) judge(r Record) decision {
	j := decision{}
	poison := func(reason, stage, code string, whole bool) decision {
		index := ":0"
		if whole {
			index = ""
		}
		j.deadLetter = &DeadLetter{
			Record: r, ID: fmt.Sprintf("%d:%d%s@%d", r.Partition, r.Offset, index, r.Time.UnixMilli()), Reason: reason, Stage: stage,
			EventID: j.eventID, EmployeeID: j.employee, Whole: whole, Code: code,
		}
		return j
	}
	if len(r.Key)+len(r.Value) > w.MaxRecordBytes {
		return poison("oversized", "decode", "", true)
	}
	event, err := parse(r.Value)
	if err != nil {
		return poison("malformed", "decode", "", true)
	}
	if !j.identify(event) {
		return poison("invalid_event", "decode", "", false)
	}
	if !j.compare(event) {
		return poison("invalid_field", "map", "", false)
	}
	switch {
	case len(j.changes) == 0:
	case !w.knows(j.member):
		return poison("crm_not_found", "update", "20012", false)
	case !w.departmentsExist(j.changes):
		return poison("crm_not_found", "update", "30007", false)
	}
	return j
}

// identify reads the required parts of an event.
func (j *decision) identify(event map[string]any) bool {
	j.eventID, _ = event["eventId"].(string)
	j.employee, _ = event["employeeId"].(string)
	j.member, _ = event["openUserId"].(string)
	order, err := strconv.ParseUint(fmt.Sprint(event["sequence"]), 10, 64)
	j.order = order
	_, hasAfter := event["after"].(map[string]any)
	return err == nil && hasAfter && j.eventID != "" && j.employee != "" && j.member != ""
}

// compare finds the fields that the event states: after has them, and before lacks them or differs.
func (j *decision) compare(event map[string]any) bool {
	before, _ := event["before"].(map[string]any)
	after, _ := event["after"].(map[string]any)
	j.changes = make(map[string]string)
	for name, k := range fields() {
		now, stated := after[name]
		was, known := before[name]
		if !stated || known && spell(was) == spell(now) {
			continue
		}
		value, ok := k.normalise(now)
		if !ok {
			return false
		}
		old, readable := k.normalise(was)
		if !known || !readable || old != value {
			j.changes[name] = value
		}
	}
	return true
}

func (w World) departmentsExist(changes map[string]string) bool {
	var ids []int64
	if list, ok := changes["attachingDepartmentIds"]; ok && json.Unmarshal([]byte(list), &ids) != nil {
		return false
	}
	if text, ok := changes["mainDepartmentId"]; ok {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return false
		}
		ids = append(ids, id)
	}
	return !slices.ContainsFunc(ids, func(id int64) bool { return id < 1 || id > w.Departments })
}
