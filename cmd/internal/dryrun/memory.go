package dryrun

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"

	"membersync/dedupe"
)

// keptEvents is how many of the latest events a Memory knows at least; it knows twice as many at
// most. Maps have powers of two of places, of which they use 7 of 8: this is just below one.
const keptEvents = 450_000

// A Memory is the state that the service keeps in Redis, in memory and for as long as the process
// lives: done marks and versions, and a hash of the values last sent where the service would keep
// digests. It knows no leases, since one process has one call at a time for one member anyway. It
// grows with the fields of the members, and with the events up to a bound, behind which a repeated
// event is one that is new: by its version, which stays, it is superseded, or it is sent again. It
// is safe for concurrent use.
type Memory struct {
	digests bool
	seed    maphash.Seed
	keep    int

	mu              sync.Mutex
	done, doneOlder map[dedupe.EventID]mark // the latest events, and those before them
	fields          map[fieldKey]fieldState
	words           []string // outcomes and names of fields; there are few
}

// A word is the place of a text among the words.
type word uint8

// A mark is the outcome of an event.
type mark struct {
	redrive int32
	outcome word
}

type fieldKey struct {
	member dedupe.Member
	name   word
}

type fieldState struct {
	version string
	sent    uint64 // hash of the value; 0: not known
}

// NewMemory returns an empty state. With digests, a value that was sent last is not sent again.
func NewMemory(digests bool) *Memory { return newMemory(digests, keptEvents) }

func newMemory(digests bool, keep int) *Memory {
	return &Memory{
		digests: digests, seed: maphash.MakeSeed(), keep: keep,
		done: map[dedupe.EventID]mark{}, fields: map[fieldKey]fieldState{},
	}
}

// word returns the place of a text, which is noted if it is new.
func (m *Memory) word(text string) word {
	at := slices.Index(m.words, text)
	if at < 0 {
		at, m.words = len(m.words), append(m.words, text)
	}
	return word(at) //nolint:gosec // fields and outcomes are some twenty
}

// mark returns the outcome of an event that is remembered.
func (m *Memory) mark(id dedupe.EventID) (found mark, ok bool) {
	if found, ok = m.done[id]; !ok {
		found, ok = m.doneOlder[id]
	}
	return found, ok
}

// note remembers an event, and forgets the oldest ones where they are too many.
func (m *Memory) note(id dedupe.EventID, became mark) {
	if len(m.done) >= m.keep {
		m.done, m.doneOlder = make(map[dedupe.EventID]mark, m.keep), m.done
	}
	m.done[id] = became
}

func (m *Memory) hash(value []byte) uint64 { return maphash.Bytes(m.seed, value) | 1 }

// Acquire says what of the events is to be sent, as [dedupe.Store.Acquire] does.
func (m *Memory) Acquire(_ context.Context, req dedupe.AcquireRequest) (dedupe.Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := dedupe.Grant{Events: make([]dedupe.EventGrant, len(req.Events)), Stale: make([]bool, len(req.Events))}
	places := map[string]int{} // of the fields in g.Fields
	for i, e := range req.Events {
		if done, ok := m.mark(e.ID); ok && int(done.redrive) >= e.Redrive {
			g.Events[i] = dedupe.EventGrant{Done: true, Outcome: m.words[done.outcome], Redrive: int(done.redrive)}
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
		f.Decision = m.decide(req.Member, f.Name, req.Events[f.Winner])
	}
	return g, nil
}

// stale reports whether all that an event states is overtaken.
func (m *Memory) stale(member dedupe.Member, e dedupe.Event) bool {
	for _, f := range e.Fields {
		if m.fields[fieldKey{member, m.word(f.Name)}].version <= e.Version {
			return false
		}
	}
	return len(e.Fields) > 0
}

func (m *Memory) decide(member dedupe.Member, name string, winner dedupe.Event) dedupe.FieldDecision {
	state := m.fields[fieldKey{member, m.word(name)}]
	if state.version > winner.Version {
		return dedupe.Superseded
	}
	for _, f := range winner.Fields {
		if f.Name == name && m.digests && state.sent == m.hash(f.Value) {
			return dedupe.Unchanged
		}
	}
	return dedupe.Send
}

// Complete records the outcomes of events. It is never late.
func (m *Memory) Complete(_ context.Context, c dedupe.Completion) (late bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range c.Done {
		m.note(e.ID, mark{int32(e.Redrive), m.word(e.Outcome)}) //nolint:gosec // at most 9999
		for _, name := range e.Fields {
			key := fieldKey{c.Member, m.word(name)}
			state := m.fields[key]
			state.version = max(state.version, e.Version)
			m.fields[key] = state
		}
	}
	for _, f := range c.Sent {
		key := fieldKey{c.Member, m.word(f.Name)}
		state := m.fields[key]
		if m.digests {
			state.sent = m.hash(f.Value)
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
