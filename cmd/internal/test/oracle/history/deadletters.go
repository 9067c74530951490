package history

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"
)

// deadLetterRules judge what is dead-lettered, and why.
type deadLetterRules struct{ *judge }

// readDeadLetters checks each dead letter against its delivery.
func (j deadLetterRules) readDeadLetters() {
	j.dead = make(map[string]*failure)
	j.deadLettered = make(map[delivery]time.Time)
	for _, l := range j.DeadLetters {
		facts, rest := split(l.Headers)
		if facts["dlq.reason"] == "invalid_redrive" {
			continue
		}
		e := j.named(facts)
		number, err := strconv.Atoi(facts["dlq.redrives"])
		if e != nil && err == nil && number > 0 {
			e = j.redriven[delivery{e.place(), number}]
		}
		if err != nil || e == nil {
			j.fault("dead letter %d:%d names no source record", l.Partition, l.Offset)
			continue
		}
		if of := (delivery{e.place(), number}); j.deadLettered[of].IsZero() {
			j.deadLettered[of] = l.Time
		}
		if want := itemOf(j.byPlace[e.place()]); facts["dlq.id"] != want {
			j.fault("the dead letter of %s has the id %s, not %s", e, facts["dlq.id"], want)
		}
		if j.World.isRead(e.rec) && (!bytes.Equal(l.Key, e.rec.Key) || !bytes.Equal(l.Value, e.rec.Value) || (l.Value == nil) != (e.rec.Value == nil) ||
			!slices.EqualFunc(rest, e.rec.Headers, sameHeader)) {
			j.fault("the dead letter of %s differs from its record", e)
		}
		stamp := stampOf(e.rec)
		if got := facts["dlq.source.timestamp"]; got != stamp {
			j.fault("the dead letter of %s states the record time %s, not %s", e, got, stamp)
		}
		j.judgeReason(e, facts, l)
	}
}

// named returns the event of the source record that a dead letter or a redrive names, or nil. A
// recreated topic uses the same coordinates again; the timestamp distinguishes them.
func (j *judge) named(facts map[string]string) (e *event) {
	partition, err1 := strconv.Atoi(facts["dlq.source.partition"])
	offset, err2 := strconv.ParseInt(facts["dlq.source.offset"], 10, 64)
	if err1 != nil || err2 != nil {
		return nil
	}
	for generation := range len(j.Recreated) + 1 {
		if found := j.byPlace[place{generation, partition, offset}]; found != nil {
			if e = found; stampOf(e.rec) == facts["dlq.source.timestamp"] {
				break
			}
		}
	}
	return e
}

func stampOf(r Record) string { return r.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

func (j deadLetterRules) judgeReason(e *event, facts map[string]string, l Record) {
	reason := facts["dlq.reason"]
	if e.poison != "" {
		if reason != e.poison {
			j.fault("%s is dead-lettered as %s, not %s", e, reason, e.poison)
		}
		return
	}
	if j.dead[e.key()] == nil {
		j.dead[e.key()] = &failure{reason, l.Time}
	}
	switch {
	case e.ignored:
		j.fault("%s is dead-lettered as %s, but must be ignored", e, reason)
	case e.refusal != "" && reason == e.refusal:
	case j.isOfStorm(e, reason, l.Time):
	case e.member == j.World.Sick && (reason == "retries_exhausted" || reason == "crm_rejected"):
		if n := j.failures(e); n < minAttempts {
			j.fault("%s is dead-lettered as %s after %d failed calls", e, reason, n)
		}
	default:
		j.fault("%s is dead-lettered as %s at %s, want %q", e, reason, clock(l.Time), e.refusal)
	}
}

// minAttempts is the number of attempts before an event's retry budget can be used up.
const minAttempts = 5

// failures counts the calls that carried a value of the event and failed.
func (j deadLetterRules) failures(e *event) int {
	n := 0
	for _, c := range j.Calls {
		fields, _ := userOf(c.User)
		for name, value := range e.states {
			if c.Member == e.member && c.Failed && fields[name] == value {
				n++
				break
			}
		}
	}
	return n
}

// requireDeadLetters requires one dead letter for each record whose bytes are poison, and one for
// each event that the CRM refuses, unless a newer event superseded the refused field.
func (j deadLetterRules) requireDeadLetters() {
	for p, e := range j.byPlace {
		j.requireDeadLetter(delivery{p, 0}, e)
	}
	for at, e := range j.redriven {
		if d := j.dead[e.key()]; d == nil || d.reason != "duplicate" {
			j.requireDeadLetter(at, e)
		}
	}
}

func (j deadLetterRules) requireDeadLetter(d delivery, e *event) {
	switch {
	case e.mayBeLost:
	case e.poison != "":
		if j.deadLettered[d].IsZero() {
			j.fault("%s is %s and has no dead letter", e, e.poison)
		}
	case e.refusal == "" || e.ignored || len(e.states) == 0 || j.dead[e.key()] != nil:
	case e.bad == "" || !j.overtaken(e, e.bad):
		j.fault("%s is %s and has no dead letter", e, e.refusal)
	}
}

func (j deadLetterRules) overtaken(e *event, field string) bool {
	accepted := j.accepted(slot{e.member, field})
	return len(accepted) > 0 && accepted[len(accepted)-1].order > e.order
}

// split separates the facts of a dead letter from the source's own headers.
func split(headers []Header) (facts map[string]string, rest []Header) {
	facts = make(map[string]string)
	for _, h := range headers {
		switch own, escaped := strings.CutPrefix(h.Key, "orig."); {
		case escaped && isReserved(strings.ReplaceAll(own, "orig.", "")):
			rest = append(rest, Header{own, h.Value})
		case isReserved(h.Key):
			facts[h.Key] = string(h.Value)
		default:
			rest = append(rest, h)
		}
	}
	return facts, rest
}

// isReserved reports whether membersync writes this header.
func isReserved(key string) bool {
	return strings.HasPrefix(key, "dlq.") || strings.HasPrefix(key, "redrive.")
}

func sameHeader(a, b Header) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }
