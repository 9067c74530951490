package history

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// redriveRules judge redrives, their results, and forgeries.
type redriveRules struct{ *judge }

// A redrive is checked as an event of its own. It has the version of the event that it redrives, or
// a later one if its value was edited, and it exists from the time it was sent. So a dead-lettered
// event stays dead-lettered, and its later effects are those of its redrives.

// A delivery is a record of the source topic with the number of its redrive. 0: the original.
type delivery struct {
	place
	number int
}

func (j redriveRules) isForged(r Record) bool {
	_, forged := j.Forged[place{0, r.Partition, r.Offset}.String()]
	return forged
}

// readRedrives adds an event for each redrive that the operator sent.
func (j redriveRules) readRedrives() {
	j.redriven = make(map[delivery]*event)
	for _, r := range j.Redrives {
		if j.isForged(r) {
			continue
		}
		facts, _ := split(r.Headers)
		original := j.named(facts)
		number, err := strconv.Atoi(facts["redrive.number"])
		if original == nil || err != nil {
			j.fault("the redrive at %d:%d names no source record", r.Partition, r.Offset)
			continue
		}
		d := delivery{original.place(), number}
		if j.redriven[d] != nil {
			continue // sent twice
		}
		edit := facts["dlq.edited"] // of the dead letter: an earlier redrive may have edited it
		if facts["redrive.edited"] == "true" {
			edit = facts["redrive.number"]
		}
		edited, _ := strconv.Atoi(edit)
		rec := original.rec
		switch read := j.World.isRead(rec); {
		case read:
			rec.Value = r.Value
		case edited > 0: // the dead letter has only coordinates
			rec.Key, rec.Value, rec.Headers = r.Key, r.Value, nil
		}
		e := j.World.read(rec)
		e.from, e.number = r.Time, number
		if edited > 0 {
			e.order += fmt.Sprintf("%010d", edited)
		}
		j.redriven[d] = e
		j.add(e)
	}
}

// redriveResults: each redrive has a result in the audit topic, and only those that were
// dead-lettered again have that result. A duplicate did not run.
func (j redriveRules) redriveResults() {
	j.results = make(map[redrive][]string)
	for _, r := range j.Audit {
		if a := auditOf(r); a.Action == "redrive_result" {
			of := redrive{a.Subject, a.Detail.Number}
			j.results[of] = append(j.results[of], a.Result)
		}
	}
	for d, e := range j.redriven {
		results := j.results[redrive{itemOf(j.byPlace[d.place]), d.number}]
		switch {
		case !slices.ContainsFunc(results, func(r string) bool { return r != "refused" }): // forged ones are refused
			j.fault("redrive %d of %s has no result", d.number, e)
		case slices.Contains(results, "dead_lettered") && j.deadLettered[d].IsZero():
			j.fault("redrive %d of %s has the result dead_lettered, and no dead letter", d.number, e)
		case !slices.ContainsFunc(results, func(r string) bool { return r != "duplicate" && r != "refused" }):
			j.dead[e.key()] = &failure{"duplicate", e.from}
		}
	}
}

// A redrive is identified by the id of its dead letter and its number.
type redrive struct {
	id     string
	number int
}

// itemOf returns the id of all dead letters of an event. Each record holds one event.
func itemOf(original *event) string {
	index := ":0"
	if original.poison == "malformed" || original.poison == "oversized" { // the whole record fails
		index = ""
	}
	return fmt.Sprintf("%s%s@%d", original.place(), index, original.rec.Time.UnixMilli())
}

// forgeries: a record of the redrive topic that the operator did not send becomes a dead letter of
// its own, and no other record does. Its stated name appears in no audit record. The calls show
// that none has its values, since no event states them.
func (j redriveRules) forgeries() {
	refused := make(map[string]bool)
	for _, l := range j.DeadLetters {
		facts, _ := split(l.Headers)
		if facts["dlq.reason"] == "invalid_redrive" {
			refused[facts["dlq.id"]] = true
		}
	}
	requested, forgers := make(map[string]bool), make(map[string]bool)
	for _, r := range j.Audit {
		if a := auditOf(r); a.Action == "redrive" {
			requested[a.Actor] = true
		}
	}
	for _, r := range j.Redrives {
		p := place{0, r.Partition, r.Offset}.String()
		if facts, _ := split(r.Headers); j.isForged(r) && !requested[facts["redrive.by"]] {
			forgers[facts["redrive.by"]] = true
		}
		how, forged := j.Forged[p]
		id := fmt.Sprintf("redrive:%s@%d", p, r.Time.UnixMilli())
		switch {
		case forged && !refused[id]:
			j.fault("the redrive at %s is forged (%s), and has no dead letter %s", p, how, id)
		case !forged && refused[id]:
			j.fault("the redrive at %s is dead-lettered as invalid, though the operator has sent it", p)
		}
	}
	for _, r := range j.Audit {
		if a := auditOf(r); forgers[a.Actor] || forgers[a.Detail.By] {
			j.fault("the audit record at %d:%d has the name that a forged redrive states", r.Partition, r.Offset)
		}
	}
}

// An audit holds the fields used of an audit record. It is empty if the record is invalid.
type audit struct {
	Actor, Action, Subject, Result string
	Detail                         struct {
		Number int
		By     string
	}
}

func auditOf(r Record) (a audit) {
	if json.Unmarshal(r.Value, &a) != nil {
		return audit{}
	}
	return a
}

// redrivesWait: between a loss of Redis and its rebuild no redrive is sent. Otherwise an older
// value could win.
func (j redriveRules) redrivesWait() {
	for i := range j.Calls {
		c := &j.Calls[i]
		for _, l := range j.Losses {
			if !c.Arrived.After(l.At.Add(stopsWithin)) || !c.Arrived.Before(l.Rebuilt) {
				continue
			}
			fields, _ := userOf(c.User)
			for field, value := range fields {
				if j.isRedrivenOnly(slot{c.Member, field}, value, c, l) {
					j.fault("call %d at %s redrives %s %s = %s, while the state is lost from %s to %s",
						c.N, clock(c.Arrived), c.Member, field, value, clock(l.At), clock(l.Rebuilt))
				}
			}
		}
	}
}

// isRedrivenOnly reports whether a call can carry a value only because it was redriven. An event
// that was dead-lettered and not committed can be delivered again, and without the state its dead
// letter is unknown.
func (j redriveRules) isRedrivenOnly(s slot, value string, c *Call, l Loss) (redriven bool) {
	for _, e := range j.stating[s] {
		if e.states[s.field] != value || e.from.After(c.Arrived) {
			continue
		}
		d := j.dead[e.key()]
		if e.number == 0 && (d == nil || !d.at.Before(c.Arrived.Add(-stopsWithin)) || !j.committedBy(e, l.At)) {
			return false
		}
		redriven = redriven || e.number > 0
	}
	return redriven
}
