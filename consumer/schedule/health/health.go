// Package health records the result of the latest call of each member and answers two questions: is
// the CRM as a whole failing, and for how long has it been working for others while one member's
// calls failed?
//
// It does no I/O and takes the time as an argument.
package health

import "time"

// The bounds: what counts as the recent past, as most, and as others.
const (
	Window       = 10 * time.Second
	minFailing   = 5  // an outage needs this many failing members
	minSucceeded = 3  // the budget runs only while this many succeed
	failingShare = 20 // and fewer than one in 20 (or minFailing) fail
)

// A Monitor is not safe for concurrent use.
type Monitor[K comparable] struct {
	latest  map[K]call
	order   []seen[K]
	failing int

	paused  bool
	healthy bool          // at the last update
	looked  time.Time     // when that was
	clock   time.Duration // time spent healthy
}

type call struct {
	at time.Time
	ok bool
}

type seen[K comparable] struct {
	key K
	at  time.Time
}

// New returns a monitor without any calls.
func New[K comparable]() *Monitor[K] { return &Monitor[K]{latest: make(map[K]call)} }

// Record sets the result of the member's latest call.
func (m *Monitor[K]) Record(now time.Time, key K, ok bool) {
	m.forget(key)
	m.latest[key] = call{now, ok}
	m.order = append(m.order, seen[K]{key, now})
	if !ok {
		m.failing++
	}
	m.look(now)
}

// Outage reports whether the latest call failed for most of the members called within the last
// [Window], and for at least five of them.
func (m *Monitor[K]) Outage(now time.Time) bool {
	m.look(now)
	return m.failing >= minFailing && 2*m.failing > len(m.latest)
}

// Healthy reports whether, within the last [Window], the latest calls of at least three members
// succeeded and fewer than max(5, 5 %) failed, and no pause is on.
func (m *Monitor[K]) Healthy(now time.Time) bool {
	m.look(now)
	return m.healthy
}

// Clock returns for how long the CRM has been healthy so far. An event's retry budget is measured
// on this clock, not on the wall clock.
func (m *Monitor[K]) Clock(now time.Time) time.Duration {
	m.look(now)
	return m.clock
}

// SetPaused stops the clock while calling is paused, and starts it again.
func (m *Monitor[K]) SetPaused(now time.Time, paused bool) {
	m.look(now)
	m.paused = paused
	m.look(now)
}

// Reset forgets all calls. The clock stays.
func (m *Monitor[K]) Reset(now time.Time) {
	m.look(now)
	clear(m.latest)
	m.order, m.failing = nil, 0
	m.look(now)
}

// look lets old calls expire and adds the time since the last look, if the CRM was healthy then and
// still is.
func (m *Monitor[K]) look(now time.Time) {
	m.expire(now)
	succeeded := len(m.latest) - m.failing
	healthy := !m.paused && succeeded >= minSucceeded && m.failing < max(minFailing, len(m.latest)/failingShare)
	if healthy && m.healthy {
		m.clock += now.Sub(m.looked)
	}
	m.healthy, m.looked = healthy, now
}

func (m *Monitor[K]) expire(now time.Time) {
	n := 0
	for n < len(m.order) && now.Sub(m.order[n].at) > Window {
		s := m.order[n]
		n++
		if m.latest[s.key].at.Equal(s.at) {
			m.forget(s.key)
		}
	}
	m.order = m.order[n:]
}

func (m *Monitor[K]) forget(key K) {
	c, found := m.latest[key]
	if found && !c.ok {
		m.failing--
	}
	delete(m.latest, key)
}
