package dryrun

import (
	"bytes"
	"context"
	"sync"

	"membersync/dedupe"
)

// A Memory is the state that the service keeps in Redis, in memory and for as long as the process lives: done marks and
// versions, and the values last sent where the service would keep digests. It knows no leases, since one process has one
// call at a time for one member anyway, and no limits: it grows by some 100 bytes for each event. It is safe for concurrent use.
type Memory struct {
	digests bool

	mu     sync.Mutex
	done   map[dedupe.EventID]dedupe.DoneEvent
	fields map[fieldKey]fieldState
}

type fieldKey struct {
	member dedupe.Member
	name   string
}

type fieldState struct {
	version string
	sent    []byte // nil: not known
}

// NewMemory returns an empty state. With digests, a value that was sent last is not sent again.
func NewMemory(digests bool) *Memory {
	return &Memory{digests: digests, done: map[dedupe.EventID]dedupe.DoneEvent{}, fields: map[fieldKey]fieldState{}}
}

// Acquire says what of the events is to be sent, as [dedupe.Store.Acquire] does.
func (m *Memory) Acquire(_ context.Context, req dedupe.AcquireRequest) (dedupe.Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := dedupe.Grant{Events: make([]dedupe.Verdict, len(req.Events)), Stale: make([]bool, len(req.Events))}
	places := map[string]int{} // of the fields in g.Fields
	for i, e := range req.Events {
		if mark, ok := m.done[e.ID]; ok && mark.Redrive >= e.Redrive {
			g.Events[i] = dedupe.Verdict{Done: true, Outcome: mark.Outcome, Redrive: mark.Redrive}
			continue
		}
		g.Stale[i] = m.stale(req.Member, e)
		for _, f := range e.Fields {
			at, ok := places[f.Name]
			if !ok {
				at, places[f.Name] = len(g.Fields), len(g.Fields)
				g.Fields = append(g.Fields, dedupe.FieldGrant{Name: f.Name, Winner: i})
			}
			if req.Events[g.Fields[at].Winner].Version <= e.Version {
				g.Fields[at].Winner = i
			}
		}
	}
	for i := range g.Fields {
		f := &g.Fields[i]
		f.Verdict = m.verdict(req.Member, f.Name, req.Events[f.Winner])
	}
	return g, nil
}

// stale reports whether all that an event states is overtaken.
func (m *Memory) stale(member dedupe.Member, e dedupe.Event) bool {
	for _, f := range e.Fields {
		if m.fields[fieldKey{member, f.Name}].version <= e.Version {
			return false
		}
	}
	return len(e.Fields) > 0
}

func (m *Memory) verdict(member dedupe.Member, name string, winner dedupe.Event) dedupe.FieldVerdict {
	state := m.fields[fieldKey{member, name}]
	if state.version > winner.Version {
		return dedupe.Superseded
	}
	for _, f := range winner.Fields {
		if f.Name == name && m.digests && state.sent != nil && bytes.Equal(f.Value, state.sent) {
			return dedupe.Unchanged
		}
	}
	return dedupe.Send
}

// Complete notes what came of events. It is never late.
func (m *Memory) Complete(_ context.Context, c dedupe.Completion) (late bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range c.Done {
		m.done[e.ID] = dedupe.DoneEvent{Redrive: e.Redrive, Outcome: e.Outcome}
		for _, name := range e.Fields {
			key := fieldKey{c.Member, name}
			state := m.fields[key]
			state.version = max(state.version, e.Version)
			m.fields[key] = state
		}
	}
	for _, f := range c.Sent {
		key := fieldKey{c.Member, f.Name}
		state := m.fields[key]
		if m.digests {
			state.sent = bytes.Clone(f.Value)
		}
		m.fields[key] = state
	}
	return false, nil
}

// Renew says that the lease is held.
func (*Memory) Renew(context.Context, dedupe.Member, dedupe.Token) (held bool, err error) {
	return true, nil
}

// Release does nothing.
func (*Memory) Release(context.Context, dedupe.Member, dedupe.Token) error { return nil }
