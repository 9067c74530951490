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
	Instance          int    // the sender
	Member            string // openUserId
	User              json.RawMessage
	Arrived, Finished time.Time
	Applied           bool // it took effect
	Answered          bool // the client received a success
	Gone              bool // the client closed the connection before the response
}

// same reports whether two calls carry exactly the same update.
func (c Call) same(o Call) bool {
	return c.Member == o.Member && bytes.Equal(c.User, o.User)
}

// A Crash is a kill -9 of an instance. It ended between the signal and the time when that was
// observed.
type Crash struct {
	Instance     int
	Signal, Dead time.Time
}

// A Loss is a time during which connections were cut or a server was away.
type Loss struct {
	Span
	Instance int  // whose connections; -1: those of all instances
	CRM      bool // to the CRM
	Redis    bool // to Redis, or Redis itself
}

func (l Loss) of(instance int) bool { return l.Instance < 0 || l.Instance == instance }

// Evidence is the input of [Judge].
type Evidence struct {
	World       outcome.World
	Records     []outcome.Record             // the source topic as it is
	Calls       []Call                       // in the order of arrival
	State       map[string]map[string]string // of every member in the CRM by field, as [outcome.Canonical] writes it
	DeadLetters []string                     // dlq.id of every record of the dead-letter topic
	Unfinished  int64                        // offsets that the group has not committed
	Crashes     []Crash                      // by time
	Losses      []Loss
}

// crashed reports whether an instance was killed within a span.
func (e *Evidence) crashed(instance int, s Span) bool {
	return slices.ContainsFunc(e.Crashes, func(d Crash) bool {
		return d.Instance == instance && s.touches(Span{d.Signal, d.Dead})
	})
}

func (e *Evidence) lost(instance int, s Span, which func(Loss) bool) bool {
	return slices.ContainsFunc(e.Losses, func(l Loss) bool { return l.of(instance) && which(l) && l.touches(s) })
}
