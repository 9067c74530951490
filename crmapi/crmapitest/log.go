package crmapitest

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// An Outcome is how a request ended.
type Outcome string

// The outcomes.
const (
	OutcomeOpen    Outcome = "open"    // not ended yet
	OutcomeSuccess Outcome = "success" // HTTP 200 with errorCode 0
	OutcomeRefused Outcome = "refused" // any other response
	OutcomeClosed  Outcome = "closed"  // connection closed without a response
	OutcomeGone    Outcome = "gone"    // the client gave up
)

// A Seen is one request in the log of the fake.
type Seen struct {
	N            int             `json:"n"` // from 1, in the order of arrival
	Endpoint     Endpoint        `json:"endpoint"`
	Arrived      time.Time       `json:"arrived"`
	Finished     time.Time       `json:"finished"` // zero while the request is open
	OpenUserID   string          `json:"openUserId,omitempty"`
	User         json.RawMessage `json:"user,omitempty"` // as sent; an object_data is translated to the user object
	ThirdTraceID string          `json:"thirdTraceId,omitempty"`
	TraceID      string          `json:"traceId"`
	Outcome      Outcome         `json:"outcome"`
	Status       int             `json:"status,omitempty"`
	Code         int             `json:"code"`
	Applied      bool            `json:"applied"` // whether it took effect; set before the response
	// Together is the largest number of open requests for this member while this one was open,
	// including this one. Requests whose clients gave up do not count.
	Together int `json:"together,omitempty"`
}

// A RequestLog is what the fake has seen. It is safe for concurrent use.
type RequestLog struct {
	*core
	log      []*entry
	open     map[string][]*entry // by member
	overlaps int
}

// An entry is a request in the log. The server's mutex guards it.
type entry struct {
	seen Seen
	gone func() bool // whether the client has given up; nil after the end of the request
}

// snapshot returns a copy of the request's log entry.
func (l *RequestLog) snapshot(e *entry) Seen {
	l.mu.Lock()
	defer l.mu.Unlock()
	return e.seen
}

// logArrival adds a request to the log and counts the open requests of its member.
func (l *RequestLog) logArrival(r *http.Request, endpoint Endpoint, body []byte) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.log) + 1
	ctx := r.Context()
	e := &entry{gone: func() bool { return ctx.Err() != nil }, seen: Seen{
		N: n, Endpoint: endpoint, Arrived: time.Now(), Outcome: OutcomeOpen,
		TraceID: "fake-" + strconv.Itoa(n), ThirdTraceID: r.URL.Query().Get("thirdTraceId"),
	}}
	if endpoint == EndpointUpdate {
		e.seen.User, e.seen.OpenUserID = l.parseMember(body)
		l.countTogetherLocked(e)
	}
	l.log = append(l.log, e)
	l.open[e.seen.OpenUserID] = append(l.open[e.seen.OpenUserID], e)
	l.notifyLocked()
	return e
}

// countTogetherLocked counts the open requests of the same member. It counts only those whose
// clients are still waiting: a request whose client timed out may be sent again. The caller must
// hold mu.
func (l *RequestLog) countTogetherLocked(e *entry) {
	var waiting []*entry
	for _, other := range l.open[e.seen.OpenUserID] {
		if !other.gone() {
			waiting = append(waiting, other)
		}
	}
	e.seen.Together = len(waiting) + 1
	for _, other := range waiting {
		other.seen.Together = max(other.seen.Together, e.seen.Together)
	}
	if len(waiting) > 0 && e.seen.OpenUserID != "" {
		l.overlaps++
	}
}

// logEnd records how a request ended. It is called before the response is written, because the next
// request may arrive as soon as the client has read the response.
func (l *RequestLog) logEnd(e *entry, done Seen) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.seen.Outcome, e.seen.Status, e.seen.Code = done.Outcome, done.Status, done.Code
	e.seen.Finished, e.gone = time.Now(), nil
	id := e.seen.OpenUserID
	l.open[id] = slices.DeleteFunc(l.open[id], func(o *entry) bool { return o == e })
	if len(l.open[id]) == 0 {
		delete(l.open, id)
	}
	l.notifyLocked()
}

// Log returns all requests in the order of their arrival.
func (l *RequestLog) Log() []Seen {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Seen, 0, len(l.log))
	for _, e := range l.log {
		all = append(all, e.seen)
	}
	return all
}

// Calls returns the requests of the update API.
func (l *RequestLog) Calls() []Seen {
	return slices.DeleteFunc(l.Log(), func(e Seen) bool { return e.Endpoint != EndpointUpdate })
}

// Stats are counts of the requests so far.
type Stats struct {
	Requests   int      `json:"requests"` // of both APIs
	Open       int      `json:"open"`
	Blocked    int      `json:"held"`       // requests that wait for Release
	Overlaps   int      `json:"overlaps"`   // update requests that arrived while another of the same member was open
	Violations []string `json:"violations"` // breaches of the protocol, such as two concurrent token fetches
}

// Stats returns the current counts.
func (l *RequestLog) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.statsLocked()
}

// statsLocked returns the current counts. The caller must hold mu.
func (l *RequestLog) statsLocked() Stats {
	open := 0
	for _, entries := range l.open {
		open += len(entries)
	}
	return Stats{
		Requests: len(l.log), Open: open, Blocked: l.nBlocked, Overlaps: l.overlaps, Violations: slices.Clone(l.violations),
	}
}

// Open returns the number of requests that are open.
func (l *RequestLog) Open() int { return l.Stats().Open }

// Blocked returns the number of requests that wait for Release.
func (l *RequestLog) Blocked() int { return l.Stats().Blocked }

// Overlaps returns how many update requests arrived while another of the same member was open.
func (l *RequestLog) Overlaps() int { return l.Stats().Overlaps }

// Violations returns the breaches of the protocol so far.
func (l *RequestLog) Violations() []string { return l.Stats().Violations }

// Wait waits until the function returns true for the current counts. It returns the cause of the
// context if that ends first.
func (l *RequestLog) Wait(ctx context.Context, until func(Stats) bool) error {
	for {
		l.mu.Lock()
		stats, changeSignal := l.statsLocked(), l.changeSignal
		l.mu.Unlock()
		if until(stats) {
			return nil
		}
		select {
		case <-changeSignal:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
