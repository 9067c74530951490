package crmapitest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Server is a fake CRM. Its parts share one lock. It is safe for concurrent use.
type Server struct {
	*core
	*MemberStore
	*RequestLog
	*FaultScript
	*TokenIssuer

	calls  []time.Time     // of the update API, within the rate window
	traces map[string]bool // thirdTraceIds used so far
}

// core is what the parts share.
type core struct {
	opts Options

	mu           sync.Mutex // guards all fields of all parts
	nBlocked     int        // requests that wait for Release
	violations   []string
	changeSignal chan struct{} // closed and replaced when the stats change
}

// New returns a fake CRM.
func New(opts Options) *Server {
	c := &core{opts: opts.withDefaults(), changeSignal: make(chan struct{})}
	members := &MemberStore{core: c, members: make(map[string]map[string]json.RawMessage), owners: make(map[uniqueValue]string)}
	if opts.Departments != nil {
		members.departments = make(map[int64]bool)
	}
	for _, id := range opts.Departments {
		members.departments[id] = true
	}
	for _, id := range opts.Members {
		members.SetMember(id, nil)
	}
	requests := &RequestLog{core: c, open: make(map[string][]*entry)}
	return &Server{
		core: c, MemberStore: members, RequestLog: requests,
		FaultScript: &FaultScript{core: c, released: make(chan struct{})},
		TokenIssuer: &TokenIssuer{core: c, requests: requests}, traces: make(map[string]bool),
	}
}

// notifyLocked wakes all callers of Wait. The caller must hold mu.
func (c *core) notifyLocked() {
	close(c.changeSignal)
	c.changeSignal = make(chan struct{})
}

// violate records a breach of the protocol.
func (c *core) violate(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violations = append(c.violations, text)
}

// ServeHTTP serves both APIs and, under /_fake/, the API for other processes.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, adminPrefix):
		s.serveAdmin(w, r)
	case r.URL.Path == s.opts.Path:
		s.serve(w, r, EndpointUpdate)
	case r.URL.Path == IssuePath && s.opts.AppID != "":
		s.serve(w, r, EndpointToken)
	default:
		http.NotFound(w, r)
	}
}

// serve handles a request of either API.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, endpoint Endpoint) {
	if !isJSONPost(w, r) {
		s.violate("not a POST of application/json")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBody))
	if err != nil {
		// The request is incomplete and is not logged: the client gave up, or sent too much.
		http.Error(w, "body", http.StatusRequestEntityTooLarge)
		return
	}
	e := s.logArrival(r, endpoint, body)
	resp, fault, ok := s.handle(r, e, body)
	if !ok {
		panic(http.ErrAbortHandler) // closes the connection
	}
	resp.write(w, fault)
}

// handle processes a request. It returns the response and the fault, and false if there is no
// response.
func (s *Server) handle(r *http.Request, e *entry, body []byte) (response, Fault, bool) {
	fault := s.pickFault(s.snapshot(e))
	done := Seen{Endpoint: e.seen.Endpoint}
	defer func() { s.logEnd(e, done) }()
	if !s.delay(r.Context(), e.seen.Endpoint, fault.Latency) {
		done.Outcome = OutcomeGone
		return response{}, fault, false
	}
	if s.applyFault(r, fault, BeforeEffect, &done) {
		return response{}, fault, false
	}
	var resp response
	if fault.isScripted() && fault.At != AfterEffect {
		resp = scriptedResponse(fault)
	} else {
		resp = s.apply(r, e, body)
	}
	if fault.isScripted() && fault.At == AfterEffect {
		resp = scriptedResponse(fault)
	}
	resp.traceID = e.seen.TraceID
	done.Code, done.Status, done.Outcome = resp.code, resp.status, resp.outcome()
	if s.applyFault(r, fault, AfterEffect, &done) {
		return response{}, fault, false
	}
	return resp, fault, true
}

// delay waits for the latency of a request. It reports whether the client was still waiting then.
func (s *Server) delay(ctx context.Context, endpoint Endpoint, extra time.Duration) bool {
	if endpoint == EndpointUpdate {
		extra += s.opts.Latency
	}
	return sleep(ctx, extra)
}

// apply processes a request without a fault and records whether it took effect.
func (s *Server) apply(r *http.Request, e *entry, body []byte) response {
	if e.seen.Endpoint == EndpointToken {
		return s.issue(body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	code := s.updateLocked(r, body)
	e.seen.Applied = code == CodeSuccess
	return response{code: code, status: http.StatusOK}
}

// A response is what the fake sends. token is set only for a response of the token API that is not
// scripted.
type response struct {
	code    int
	status  int
	traceID string
	token   *tokenResponse
}

// scriptedResponse returns the response that a fault defines.
func scriptedResponse(f Fault) response {
	resp := response{code: f.Code, status: f.Status}
	if resp.status == 0 {
		resp.status = http.StatusOK
	}
	return resp
}

func (resp response) outcome() Outcome {
	if resp.code == CodeSuccess && resp.status == http.StatusOK {
		return OutcomeSuccess
	}
	return OutcomeRefused
}

func (resp response) write(w http.ResponseWriter, f Fault) {
	body, kind := resp.body(f), "application/json; charset=utf-8"
	if f.Body != "" {
		body, kind = []byte(f.Body), "text/html; charset=utf-8"
	}
	if f.Type != "" {
		kind = f.Type
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	for name, value := range f.Header {
		h.Set(name, value)
	}
	if !bodyAllowed(resp.status) {
		w.WriteHeader(resp.status)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(resp.status)
	if !f.Cut {
		_, _ = w.Write(body) //nolint:gosec // the scripted response, HTML on purpose
		return
	}
	_, _ = w.Write(body[:len(body)/2]) //nolint:gosec // the scripted response, HTML on purpose
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// body returns the JSON of the response. If the fault sets only a status, the JSON has no
// errorCode.
func (resp response) body(f Fault) []byte {
	message := f.Message
	if message == "" {
		message = map[bool]string{true: "success", false: "failed"}[resp.code == CodeSuccess]
	}
	if resp.token != nil {
		resp.token.Message = message
		return mustJSON(resp.token)
	}
	if f.Status != 0 && f.Status != http.StatusOK && f.Code == 0 {
		return mustJSON(map[string]string{"traceId": resp.traceID, "errorMessage": message})
	}
	return mustJSON(map[string]any{
		"traceId": resp.traceID, "errorDescription": message, "errorMessage": message, "errorCode": resp.code,
	})
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

func isJSONPost(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.Method != http.MethodPost:
		http.Error(w, "method", http.StatusMethodNotAllowed)
	case !isJSON(r.Header.Get("Content-Type")):
		http.Error(w, "content type", http.StatusUnsupportedMediaType)
	default:
		return true
	}
	return false
}

// mustJSON returns the JSON of one of the package's own values.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("crmapitest: " + err.Error()) // cannot happen: the values are the package's own
	}
	return b
}
