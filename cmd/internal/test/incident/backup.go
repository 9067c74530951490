package incident

import (
	"time"

	"membersync/cmd/internal/test/oracle/outcome"
)

// A Backup holds the events around a backup of the CRM, to which the CRM is restored later.
type Backup struct {
	At      time.Time
	Old     []outcome.Record // before the backup
	Recent  []outcome.Record // between it and the restore
	Between []outcome.Record // after the restore and before the replay
	Waiting []outcome.Record // after the replay command and before its start
	During  []outcome.Record // while the replay runs
}

// A course is the series of events of an employee around a backup.
type course struct{ old, recent, between, waiting, during []step }

// courses returns the courses. After the restore and during the replay, events state again what the
// CRM held before the restore.
func courses() []course {
	return []course{
		{
			old:    []step{live("position", "qq")},
			recent: []step{live("position").at(2), live("email").at(3)},
			during: []step{live("position").at(20).like(2), live("qq").at(21)},
		},
		{old: []step{live("position"), live("qq")}},
		{ // redriven after the backup
			old:    []step{live("position"), dead("weixin")},
			recent: []step{live("qq").at(3)},
			during: []step{live("weixin").at(20).like(2)},
		},
		{ // one that comes late
			old:    []step{live("position").at(3)},
			recent: []step{live("position").at(2), live("weixin").at(4)},
			during: []step{live("weixin").at(20).like(4)},
		},
		{
			old:     []step{live("qq")},
			recent:  []step{{fields: []string{"qq"}, bad: true, order: 2}, live("qq").at(3)},
			between: []step{live("qq").at(10).like(3)},
			during:  []step{live("email").at(20)},
		},
		{
			old:    []step{live("dept", "qq")},
			recent: []step{live("dept").at(2), {copied: true}},
			during: []step{live("dept").at(20).like(2)},
		},
		{ // unknown to the backup
			recent:  []step{live("position", "email").at(1)},
			between: []step{live("email").at(10).like(1)},
			during:  []step{live("position").at(20).like(1)},
		},
		{
			old:    []step{live("qq")},
			recent: []step{live("qq").at(2)},
			during: []step{live("qq").at(20), live("qq").at(21).like(2)},
		},
		{
			old:     []step{live("email", "weixin")},
			recent:  []step{live("email").at(2), live("weixin").at(3)},
			waiting: []step{live("email").at(10).like(2)},
			during:  []step{live("weixin").at(20).like(3)},
		},
	}
}

// Around generates the events of the given number of employees around a backup that is two hours
// old.
func Around(employees, partitions int, now time.Time) Backup {
	const age = 2 * time.Hour
	b := Backup{At: now.Add(-age).Truncate(time.Millisecond)}
	for i := range employees {
		c := courses()[i%len(courses())]
		b.Old = append(b.Old, recordsOf(i, c.old, partitions)...)
		b.Recent = append(b.Recent, recordsOf(i, c.recent, partitions)...)
		b.Between = append(b.Between, recordsOf(i, c.between, partitions)...)
		b.Waiting = append(b.Waiting, recordsOf(i, c.waiting, partitions)...)
		b.During = append(b.During, recordsOf(i, c.during, partitions)...)
	}
	spread(b.Old, b.At.Add(-age), b.At)
	spread(b.Recent, b.At, now)
	return b
}

// spread gives records times between from and to.
func spread(records []outcome.Record, from, to time.Time) {
	for i := range records {
		records[i].Time = from.Add(to.Sub(from) * time.Duration(i) / time.Duration(len(records))).Truncate(time.Millisecond)
	}
}

// A Plan holds the counts that a dry run of a replay must report.
type Plan struct{ Records, Send, Done, Superseded, Poison, Redrives, Calls int }

// Plan computes the dry run of a replay from a time on, after all events were processed and all
// dead letters except the bad ones were redriven within the range. A redrive is replayed like a
// record of the source topic.
func (e *Expectation) Plan(from time.Time, reapply bool) Plan {
	var p Plan
	for _, events := range e.byMember {
		applied := map[string]string{} // the newest, by field
		for _, ev := range events {
			for name := range ev.states {
				if !ev.copied { // a copy counts only for its original
					applied[name] = ev.order
				}
			}
		}
		sends := false
		for _, ev := range events {
			if ev.dead && !ev.poison {
				p.Redrives++
				sends = p.count(ev, reapply, applied) || sends
			}
			if !ev.at.Before(from) {
				sends = p.count(ev, reapply, applied) || sends
			}
		}
		if sends {
			p.Calls++
		}
	}
	return p
}

// count adds one record of an event to the plan and reports whether it is sent.
func (p *Plan) count(ev *event, reapply bool, applied map[string]string) bool {
	p.Records++
	switch {
	case !reapply, ev.poison: // the dead letter of a poison message is open: a replay skips it
		p.Done++
	case ev.isStale(applied):
		p.Superseded++
	default:
		p.Send++
		return true
	}
	return false
}

func (ev *event) isStale(applied map[string]string) bool {
	for name := range ev.states {
		if ev.order >= applied[name] {
			return false
		}
	}
	return true
}
