package crmapitest

import (
	"context"
	"net/http"
	"time"
)

// A Point is a moment in the handling of a request.
type Point string

// The points: before the update takes effect, and after it did and before the answer.
const (
	BeforeEffect Point = "before"
	AfterEffect  Point = "after"
)

// An Endpoint is one of the two APIs.
type Endpoint string

// The endpoints.
const (
	EndpointUpdate Endpoint = "update"
	EndpointToken  Endpoint = "token"
)

// A Fault is what goes wrong with a request. The zero value is nothing at all. Several parts can be
// combined: they come in the order of the fields from Latency on.
type Fault struct {
	// Endpoint, Member and Times say for which requests a pushed fault is: empty is the update API, empty
	// every member, 0 once, less than 0 always.
	Endpoint Endpoint `json:"endpoint,omitempty"`
	Member   string   `json:"member,omitempty"`
	Times    int      `json:"times,omitempty"`
	// At says when it strikes; empty is BeforeEffect, and then there is no effect unless only
	// Latency, Hold, Message or Cut is set.
	At Point `json:"at,omitempty"`

	Latency time.Duration `json:"latency,omitempty"` // in nanoseconds; always before the effect
	Hold    bool          `json:"hold,omitempty"`    // wait for Release
	Hang    bool          `json:"hang,omitempty"`    // no answer until the client gives up
	Close   bool          `json:"close,omitempty"`   // close the connection without an answer
	Status  int           `json:"status,omitempty"`  // answer with this HTTP status
	Code    int           `json:"code,omitempty"`    // answer with this errorCode
	Message string        `json:"message,omitempty"` // errorMessage of the answer, whatever it is
	// Body replaces the answer's body, sent as Type or as HTML; Header adds to the answer's headers.
	Body   string            `json:"body,omitempty"`
	Type   string            `json:"type,omitempty"`
	Header map[string]string `json:"header,omitempty"`
	Cut    bool              `json:"cut,omitempty"` // end the answer in the middle of its body
}

// scripted reports whether the fault answers in place of the CRM.
func (f Fault) scripted() bool { return f.Status != 0 || f.Code != 0 || f.Body != "" }

// is reports whether a pushed fault is for this request.
func (f Fault) is(seen Seen) bool {
	endpoint := f.Endpoint
	if endpoint == "" {
		endpoint = EndpointUpdate
	}
	return endpoint == seen.Endpoint && (f.Member == "" || f.Member == seen.OpenUserID)
}

// Push queues faults for requests to come. Of several that fit a request the first counts.
func (s *Server) Push(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Clear drops all pushed faults.
func (s *Server) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) pickFault(seen Seen) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if !f.is(seen) {
			continue
		}
		switch {
		case f.Times > 1:
			s.faults[i].Times--
		case f.Times >= 0:
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		}
		return f
	}
	if s.opts.Fault != nil {
		return s.opts.Fault(seen)
	}
	return Fault{}
}

// Hold keeps all update requests from now on open at a point, until Release. A request
// whose client has gone before the effect has none.
func (s *Server) Hold(at Point) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holdAt = at
}

// Release ends Hold and lets all go that are held.
func (s *Server) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holdAt = ""
	close(s.gate)
	s.gate = make(chan struct{})
}

// strike lets the part of a fault that is for this point happen, and reports whether the request ends there
// without an answer.
func (s *Server) strike(r *http.Request, f Fault, at Point, seen *Seen) (ended bool) {
	mine := f.At == at || f.At == "" && at == BeforeEffect
	if (mine && f.Hold || s.holds(seen.Endpoint, at)) && !s.held(r.Context()) {
		seen.Outcome = OutcomeGone
		return true
	}
	switch {
	case mine && f.Hang:
		<-r.Context().Done()
		seen.Outcome = OutcomeGone
	case mine && f.Close:
		seen.Outcome = OutcomeClosed
	default:
		return false
	}
	return true
}

func (s *Server) holds(endpoint Endpoint, at Point) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return endpoint == EndpointUpdate && s.holdAt == at
}

// held waits for Release and reports whether the client waited as well.
func (s *Server) held(ctx context.Context) bool {
	s.mu.Lock()
	gate := s.gate
	s.nHeld++
	s.changed()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.nHeld--
		s.changed()
	}()
	select {
	case <-gate:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// pause waits, and reports whether the client waited as well.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
