package consumer

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"membersync/consumer/lanes"
	"membersync/consumer/source"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// A record is one source record in memory. It is finished when all its events are.
type record struct {
	part    *partition
	src     source.Record
	size    int64
	redrive *redriven // nil: the record is of the source topic

	// Guarded by the engine's lock.
	open    int  // events that are not finished
	epoch   int  // of the partition's account when it was begun
	extra   bool // it has given its place in the buffer back already
	dropped bool // an event of it was dropped: it never counts as finished here
}

// An event is one employee's change, from its decoding to its outcome. While its
// lane runs it belongs to the run; otherwise the engine's lock guards it.
type event struct {
	rec    *record
	mapped mapper.Event
	key    laneKey
	id     dedupe.EventID
	doom   *doom // not nil: it will be dead-lettered
	trials trials
	reused bool // its id was seen with another order value

	// Of the storm guard, always under the engine's lock.
	counted bool // the guard has been told of its end
	held    bool // it is doomed, but a storm keeps it
	amnesty bool // the operator lets it die
	afresh  bool // it was held, and is to be tried again instead of buried
}

// A doom is why an event dies, and how far its burial is.
type doom struct {
	reason  dlq.Reason
	text    string
	whole   bool      // the record failed whole
	at      time.Time // when it was decided
	written bool      // the dead letter is acknowledged by the topic
}

// The trials of an event are its calls that failed.
type trials struct {
	attempts int           // calls that carried it, the budget aside
	counted  int           // of those, the ones that count against the budget
	from     time.Duration // the health clock's reading at the first failure
	first    time.Time     // when that was
	last     *crmapi.Error // what the latest said
}

// A laneKey is a member, or a single record or event that has none because it could not be read. That one
// is a member of its own in Redis, for its done mark.
type laneKey struct {
	member dedupe.Member
	alone  string // empty: a member
}

// A laneState is what a lane remembers between its runs.
type laneState struct {
	pin      *work           // an update that may be sent again only as it is, or whose answer is not recorded yet
	token    dedupe.Token    // of an acquire whose answer was lost: it may hold the lease, and answers the same again
	held     time.Duration   // the latest wait for a lease that another process holds
	pending  int             // how often in a row a newer value was waited for, of which nothing is known yet
	limit    int             // of the next fold, after Redis did not answer; 0: none
	suspects []*event        // the guilty one is among them
	backoff  *crmapi.Backoff // nil: the latest try went well
}

type (
	lane  = lanes.Lane[laneKey, *event, laneState]
	queue = lanes.Lanes[laneKey, *event, laneState]
)

// maxFold bounds the events that go into one update.
const maxFold = 500

// choose picks the events that a lane runs next: what it is bound to repeat,
// half of the suspects while it looks for a guilty one, or all that fits into a fold.
func choose(l *lane) []*event {
	waiting := l.Waiting()
	if doomed := doomedOf(waiting); len(doomed) > 0 {
		if afresh := slices.DeleteFunc(slices.Clone(doomed), func(ev *event) bool { return !ev.afresh }); len(afresh) > 0 {
			return afresh
		}
		return doomed
	}
	switch s := &l.State; {
	case s.pin != nil:
		return s.pin.events
	case s.pending > 0 && s.pending%2 == 0:
		return newest(distinct(waiting))
	case len(s.suspects) > 0:
		return s.suspects[:(len(s.suspects)+1)/2]
	default:
		n := maxFold
		if s.limit > 0 {
			n = s.limit
		}
		return distinct(waiting[:min(len(waiting), n)])
	}
}

// newest takes the event of the greatest version alone. Where a newer value may have reached the CRM unheard, older ones
// wait until its event has come to something. It may be in this lane, behind what waits for it, or in another process's,
// whose fold waits for an event in this lane: the newest of all that are left never waits, so each lane tries its newest
// in turn with the fold.
func newest(waiting []*event) []*event {
	return []*event{slices.MaxFunc(waiting, func(a, b *event) int {
		return strings.Compare(string(a.mapped.Version), string(b.mapped.Version))
	})}
}

// distinct takes each event once. A second delivery waits for the first to end: beside it, its later
// version could win over an event that the first delivery loses to.
func distinct(events []*event) []*event {
	if len(events) == 1 {
		return events
	}
	seen := make(map[dedupe.EventID]bool, len(events))
	batch := make([]*event, 0, len(events))
	for _, ev := range events {
		if !seen[ev.id] {
			seen[ev.id] = true
			batch = append(batch, ev)
		}
	}
	return batch
}

func doomedOf(events []*event) []*event {
	var doomed []*event
	for _, e := range events {
		if e.doom != nil {
			doomed = append(doomed, e)
		}
	}
	return doomed
}

// letter is the dead letter of a doomed event.
func (e *event) letter(cfg *Config) dlq.DeadLetter {
	topic, partition, src := e.rec.origin()
	l := dlq.DeadLetter{
		Key: src.Key, Value: src.Value,
		Source: dlq.Source{Topic: topic, Partition: partition, Offset: src.Offset, Timestamp: src.Time},
		Reason: e.doom.reason, Error: e.doom.text, Whole: e.doom.whole,
		EventID: e.mapped.ID, EmployeeID: e.mapped.EmployeeID, Index: e.mapped.Index, Count: e.mapped.Count,
		Attempts: e.trials.attempts, FirstFailedAt: e.doom.at, FailedAt: e.doom.at,
		Group: cfg.Group, Version: cfg.Version,
	}
	for _, h := range src.Headers {
		l.Headers = append(l.Headers, dlq.Header{Key: h.Key, Value: h.Value})
	}
	if !e.trials.first.IsZero() {
		l.FirstFailedAt = e.trials.first
	}
	if last := e.trials.last; last != nil {
		l.CRMTraceID, l.ThirdTraceID = last.TraceID, last.ThirdTraceID
		if last.HasCode {
			l.CRMCode = strconv.Itoa(last.Code)
		}
	}
	if d := e.rec.redrive; d != nil {
		d.keep(&l)
	}
	return l
}

// stated are the fields that the event states, for the store.
func (e *event) stated() []dedupe.Field {
	fields := make([]dedupe.Field, 0, e.mapped.Update.Len())
	for f, v := range e.mapped.Update.All() {
		fields = append(fields, dedupe.Field{Name: f.String(), Value: v.AppendJSON(nil)})
	}
	return fields
}

// names are the names of the fields that the event states.
func (e *event) names() []string {
	names := make([]string, 0, e.mapped.Update.Len())
	for f := range e.mapped.Update.All() {
		names = append(names, f.String())
	}
	return names
}
