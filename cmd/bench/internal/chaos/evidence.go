package chaos

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"membersync/cmd/internal/test/oracle/outcome"
)

// A Call is one request as the CRM saw it.
type Call struct {
	N                 int    // in the order of arrival, from 1
	Instance          int    // who sent it
	Member            string // openUserId
	User              json.RawMessage
	Arrived, Finished time.Time
	Applied           bool // it took effect
	Answered          bool // with success
	Gone              bool // its client went away before the answer
}

// same reports whether two calls are the very same update.
func (c Call) same(o Call) bool {
	return c.Member == o.Member && bytes.Equal(c.User, o.User)
}

// A Death is a kill -9 of an instance: some time between the signal and the moment when it was known to be dead.
type Death struct {
	Instance     int
	Signal, Dead time.Time
}

// A Loss is a time in which connections were cut or a server was away.
type Loss struct {
	Span
	Instance int  // whose connections; -1: everybody's
	CRM      bool // to the CRM
	Redis    bool // to Redis, or Redis itself
}

func (l Loss) of(instance int) bool { return l.Instance < 0 || l.Instance == instance }

// Evidence is all that a verdict goes by.
type Evidence struct {
	World      outcome.World
	Records    []outcome.Record             // the source topic as it is
	Calls      []Call                       // in the order of arrival
	State      map[string]map[string]string // of every member in the CRM by field, spelt by [outcome.Canonical]
	Letters    []string                     // dlq.id of every record of the dead-letter topic
	Unfinished int64                        // offsets that the group has not committed
	Deaths     []Death                      // by time
	Losses     []Loss
}

// died tells when an instance was killed, if it was within a span.
func (e *Evidence) died(instance int, s Span) bool {
	return slices.ContainsFunc(e.Deaths, func(d Death) bool {
		return d.Instance == instance && s.touches(Span{d.Signal, d.Dead})
	})
}

func (e *Evidence) lost(instance int, s Span, which func(Loss) bool) bool {
	return slices.ContainsFunc(e.Losses, func(l Loss) bool { return l.of(instance) && which(l) && l.touches(s) })
}
