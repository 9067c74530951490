package crmapitest

import (
	"context"
	"net/http"
	"time"
)

// A Point is a moment in the processing of a request.
type Point string

// The points: before the update takes effect, and between its effect and the response.
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

// A Fault is what goes wrong with a request. The zero value changes nothing. Parts can be combined:
// they apply in the order of the fields, from Latency on.
type Fault struct {
	// Endpoint, Member and Times select the requests that a pushed fault applies to. An empty
	// Endpoint means the update API. An empty Member means every member. Times is the number of
	// requests: 0 means one, less than 0 means all.
	Endpoint Endpoint `json:"endpoint,omitempty"`
	Member   string   `json:"member,omitempty"`
	Times    int      `json:"times,omitempty"`
	// At is when the fault applies; empty means BeforeEffect. A fault before the effect prevents
	// it, unless only Latency, Block, Message or Cut are set.
	At Point `json:"at,omitempty"`

	Latency time.Duration `json:"latency,omitempty"` // in nanoseconds; always before the effect
	Block   bool          `json:"hold,omitempty"`    // block until Release
	Hang    bool          `json:"hang,omitempty"`    // no response until the client gives up
	Close   bool          `json:"close,omitempty"`   // close the connection without a response
	Status  int           `json:"status,omitempty"`  // respond with this HTTP status
	Code    int           `json:"code,omitempty"`    // respond with this errorCode
	Message string        `json:"message,omitempty"` // errorMessage of the response, for any errorCode
	// Body replaces the body of the response. Its content type is Type; empty means HTML. Header is
	// added to the headers of the response.
	Body   string            `json:"body,omitempty"`
	Type   string            `json:"type,omitempty"`
	Header map[string]string `json:"header,omitempty"`
	Cut    bool              `json:"cut,omitempty"` // end the response in the middle of its body
}

// isScripted reports whether the fault replaces the CRM's response.
func (f Fault) isScripted() bool { return f.Status != 0 || f.Code != 0 || f.Body != "" }

// matches reports whether a pushed fault applies to the request.
func (f Fault) matches(seen Seen) bool {
	endpoint := f.Endpoint
	if endpoint == "" {
		endpoint = EndpointUpdate
	}
	return endpoint == seen.Endpoint && (f.Member == "" || f.Member == seen.OpenUserID)
}

// A FaultScript is what goes wrong with later requests. It is safe for concurrent use.
type FaultScript struct {
	*core
	faults   []Fault
	blockAt  Point         // where Block blocks requests; empty means nowhere
	released chan struct{} // closed and replaced by Release
}

// Push queues faults for later requests. If several faults match a request, the first one applies.
func (q *FaultScript) Push(faults ...Fault) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.faults = append(q.faults, faults...)
}

// Clear removes all pushed faults.
func (q *FaultScript) Clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.faults = nil
}

// pickFault returns the fault for a request, and counts it against the fault's Times. Without a
// pushed fault, it asks Options.Fault.
func (q *FaultScript) pickFault(seen Seen) Fault {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, f := range q.faults {
		if !f.matches(seen) {
			continue
		}
		switch {
		case f.Times > 1:
			q.faults[i].Times--
		case f.Times >= 0:
			q.faults = append(q.faults[:i:i], q.faults[i+1:]...)
		}
		return f
	}
	if q.opts.Fault != nil {
		return q.opts.Fault(seen)
	}
	return Fault{}
}

// Block blocks all update requests from now on at a point, until Release. If the client of a
// blocked request gives up before the effect, the request has no effect.
func (q *FaultScript) Block(at Point) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.blockAt = at
}

// Release ends Block and continues all blocked requests.
func (q *FaultScript) Release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.blockAt = ""
	close(q.released)
	q.released = make(chan struct{})
}

// applyFault applies the part of a fault that belongs to this point. It reports whether the request
// ends there without a response.
func (q *FaultScript) applyFault(r *http.Request, f Fault, at Point, seen *Seen) (ended bool) {
	due := f.At == at || f.At == "" && at == BeforeEffect
	if (due && f.Block || q.blocksAt(seen.Endpoint, at)) && !q.block(r.Context()) {
		seen.Outcome = OutcomeGone
		return true
	}
	switch {
	case due && f.Hang:
		<-r.Context().Done()
		seen.Outcome = OutcomeGone
	case due && f.Close:
		seen.Outcome = OutcomeClosed
	default:
		return false
	}
	return true
}

// blocksAt reports whether Block blocks requests of the endpoint at this point.
func (q *FaultScript) blocksAt(endpoint Endpoint, at Point) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return endpoint == EndpointUpdate && q.blockAt == at
}

// block waits for Release. It reports whether the client was still waiting then.
func (q *FaultScript) block(ctx context.Context) bool {
	q.mu.Lock()
	released := q.released
	q.nBlocked++
	q.notifyLocked()
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.nBlocked--
		q.notifyLocked()
	}()
	select {
	case <-released:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// sleep waits for a duration. It reports whether the client was still waiting then.
func sleep(ctx context.Context, d time.Duration) bool {
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
