package crmapitest

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// An Outcome says how a request ended.
type Outcome string

// The outcomes.
const (
	OutcomeOpen    Outcome = "open"    // not ended yet
	OutcomeSuccess Outcome = "success" // answered with 0
	OutcomeRefused Outcome = "refused" // answered with anything else
	OutcomeClosed  Outcome = "closed"  // connection closed without an answer
	OutcomeGone    Outcome = "gone"    // the client did not wait
)

// Seen is one request as the fake saw it.
type Seen struct {
	N            int             `json:"n"` // from 1, in the order of arrival
	Endpoint     Endpoint        `json:"endpoint"`
	Arrived      time.Time       `json:"arrived"`
	Finished     time.Time       `json:"finished"` // zero while it is open
	OpenUserID   string          `json:"openUserId,omitempty"`
	User         json.RawMessage `json:"user,omitempty"` // as it was sent, or in its words what the object API was sent
	ThirdTraceID string          `json:"thirdTraceId,omitempty"`
	TraceID      string          `json:"traceId"`
	Outcome      Outcome         `json:"outcome"`
	Status       int             `json:"status,omitempty"`
	Code         int             `json:"code"`
	Applied      bool            `json:"applied"` // it took effect, whatever is answered; known while it is open
	// Together is how many requests for this member were open at most while this one was.
	Together int `json:"together,omitempty"`
}

// An entry is a request in the log. The server's mutex guards it.
type entry struct {
	seen Seen
	gone func() bool // whether the client has given up
}

func (e *entry) snapshot(s *Server) Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.seen
}

// enter logs the arrival of a request and looks for others of its member.
func (s *Server) enter(r *http.Request, endpoint Endpoint, body []byte) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.log) + 1
	ctx := r.Context()
	e := &entry{gone: func() bool { return ctx.Err() != nil }, seen: Seen{
		N: n, Endpoint: endpoint, Arrived: time.Now(), Outcome: OutcomeOpen,
		TraceID: "fake-" + strconv.Itoa(n), ThirdTraceID: r.URL.Query().Get("thirdTraceId"),
	}}
	if endpoint == EndpointUpdate {
		e.seen.User, e.seen.OpenUserID = s.peek(body)
		s.countTogether(e)
	}
	s.log = append(s.log, e)
	s.open[e.seen.OpenUserID] = append(s.open[e.seen.OpenUserID], e)
	s.changed()
	return e
}

// countTogether looks at the requests of the same member whose clients are still there: one that timed
// out may well be sent again.
func (s *Server) countTogether(e *entry) {
	var present []*entry
	for _, other := range s.open[e.seen.OpenUserID] {
		if !other.gone() {
			present = append(present, other)
		}
	}
	e.seen.Together = len(present) + 1
	for _, other := range present {
		other.seen.Together = max(other.seen.Together, e.seen.Together)
	}
	if len(present) > 0 && e.seen.OpenUserID != "" {
		s.overlaps++
	}
}

// leave notes how a request ended. It comes before the answer is written, since the next request may
// arrive as soon as that is read.
func (s *Server) leave(e *entry, done Seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.seen.Outcome, e.seen.Status, e.seen.Code = done.Outcome, done.Status, done.Code
	e.seen.Finished, e.gone = time.Now(), nil
	id := e.seen.OpenUserID
	s.open[id] = slices.DeleteFunc(s.open[id], func(o *entry) bool { return o == e })
	if len(s.open[id]) == 0 {
		delete(s.open, id)
	}
	s.changed()
}

// changed wakes whoever waits. The caller holds mu.
func (s *Server) changed() {
	close(s.news)
	s.news = make(chan struct{})
}

// Log returns all requests in the order of their arrival.
func (s *Server) Log() []Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Seen, 0, len(s.log))
	for _, e := range s.log {
		all = append(all, e.seen)
	}
	return all
}

// Calls returns the requests of the update API.
func (s *Server) Calls() []Seen {
	return slices.DeleteFunc(s.Log(), func(e Seen) bool { return e.Endpoint != EndpointUpdate })
}

// Stats are numbers about the requests so far.
type Stats struct {
	Requests   int      `json:"requests"` // of both APIs
	Open       int      `json:"open"`
	Blocked    int      `json:"held"`
	Overlaps   int      `json:"overlaps"`   // update requests that came while another of the same member was open
	Violations []string `json:"violations"` // breaches of the protocol, such as two token fetches at once
}

// Stats returns the numbers of this moment.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats()
}

func (s *Server) stats() Stats {
	open := 0
	for _, entries := range s.open {
		open += len(entries)
	}
	return Stats{
		Requests: len(s.log), Open: open, Blocked: s.nHeld, Overlaps: s.overlaps, Violations: slices.Clone(s.violations),
	}
}

// Open returns the number of requests that are open.
func (s *Server) Open() int { return s.Stats().Open }

// Blocked returns the number of requests that wait for Release.
func (s *Server) Blocked() int { return s.Stats().Blocked }

// Overlaps returns how many update requests came while another of the same member was open.
func (s *Server) Overlaps() int { return s.Stats().Overlaps }

// Violations returns the breaches of the protocol so far.
func (s *Server) Violations() []string { return s.Stats().Violations }

// Wait waits until the numbers are as asked for, or the context ends.
func (s *Server) Wait(ctx context.Context, until func(Stats) bool) error {
	for {
		s.mu.Lock()
		stats, news := s.stats(), s.news
		s.mu.Unlock()
		if until(stats) {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *Server) violate(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, text)
}
