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

// A Server is a fake CRM. It is safe for concurrent use.
type Server struct {
	opts        Options
	departments map[int64]bool // nil: all

	mu      sync.Mutex
	members map[string]map[string]json.RawMessage
	owners  map[unique]string // openUserId by what is unique in the company
	faults  []Fault
	holdAt  Point
	gate    chan struct{} // closed by Release
	nHeld   int
	news    chan struct{} // closed when something changed that somebody may wait for

	log        []*entry
	open       map[string][]*entry // by member
	overlaps   int
	calls      []time.Time // of the update API, within the rate window
	traces     map[string]bool
	violations []string

	tokens     []token
	tokenCalls []time.Time // within a minute
}

// New returns a fake CRM.
func New(opts Options) *Server {
	s := &Server{
		opts:    opts.withDefaults(),
		members: make(map[string]map[string]json.RawMessage),
		owners:  make(map[unique]string),
		gate:    make(chan struct{}),
		news:    make(chan struct{}),
		open:    make(map[string][]*entry),
		traces:  make(map[string]bool),
	}
	if opts.Departments != nil {
		s.departments = make(map[int64]bool)
	}
	for _, id := range opts.Departments {
		s.departments[id] = true
	}
	for _, id := range opts.Members {
		s.SetMember(id, nil)
	}
	return s
}

// ServeHTTP serves both APIs and, under /_fake/, the surface for other processes.
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
		// A request without its body is none. The client gave up, or sent too much.
		http.Error(w, "body", http.StatusRequestEntityTooLarge)
		return
	}
	e := s.enter(r, endpoint, body)
	answer, fault, ok := s.handle(r, e, body)
	if !ok {
		panic(http.ErrAbortHandler) // closes the connection
	}
	answer.write(w, fault)
}

// handle works out the answer, or false if there is none.
func (s *Server) handle(r *http.Request, e *entry, body []byte) (answer, Fault, bool) {
	fault := s.pickFault(e.snapshot(s))
	done := Seen{Endpoint: e.seen.Endpoint}
	defer func() { s.leave(e, done) }()
	if !s.delay(r.Context(), e.seen.Endpoint, fault.Latency) {
		done.Outcome = OutcomeGone
		return answer{}, fault, false
	}
	if s.strike(r, fault, BeforeEffect, &done) {
		return answer{}, fault, false
	}
	var a answer
	if fault.scripted() && fault.At != AfterEffect {
		a = scripted(fault)
	} else {
		a = s.process(r, e, body)
	}
	if fault.scripted() && fault.At == AfterEffect {
		a = scripted(fault)
	}
	a.traceID = e.seen.TraceID
	done.Code, done.Status, done.Outcome = a.code, a.status, a.outcome()
	if s.strike(r, fault, AfterEffect, &done) {
		return answer{}, fault, false
	}
	return a, fault, true
}

func (s *Server) delay(ctx context.Context, endpoint Endpoint, extra time.Duration) bool {
	if endpoint == EndpointUpdate {
		extra += s.opts.Latency
	}
	return pause(ctx, extra)
}

func (s *Server) process(r *http.Request, e *entry, body []byte) answer {
	if e.seen.Endpoint == EndpointToken {
		return s.issue(body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	code := s.update(r, body)
	e.seen.Applied = code == CodeSuccess
	return answer{code: code, status: http.StatusOK}
}

// An answer is what the fake says.
type answer struct {
	code    int
	status  int
	traceID string
	token   *tokenAnswer
}

func scripted(f Fault) answer {
	a := answer{code: f.Code, status: f.Status}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a
}

func (a answer) outcome() Outcome {
	if a.code == CodeSuccess && a.status == http.StatusOK {
		return OutcomeSuccess
	}
	return OutcomeRefused
}

func (a answer) write(w http.ResponseWriter, f Fault) {
	body, kind := a.body(f), "application/json; charset=utf-8"
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
	if !bodyAllowed(a.status) {
		w.WriteHeader(a.status)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.status)
	if !f.Cut {
		_, _ = w.Write(body) //nolint:gosec // the scripted answer, HTML on purpose
		return
	}
	_, _ = w.Write(body[:len(body)/2]) //nolint:gosec // the scripted answer, HTML on purpose
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// body is the answer's JSON: bare of an errorCode where only a status was scripted.
func (a answer) body(f Fault) []byte {
	message := f.Message
	if message == "" {
		message = map[bool]string{true: "success", false: "failed"}[a.code == CodeSuccess]
	}
	if a.token != nil {
		a.token.Message = message
		return mustJSON(a.token)
	}
	if f.Status != 0 && f.Status != http.StatusOK && f.Code == 0 {
		return mustJSON(map[string]string{"traceId": a.traceID, "errorMessage": message})
	}
	return mustJSON(map[string]any{
		"traceId": a.traceID, "errorDescription": message, "errorMessage": message, "errorCode": a.code,
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

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("crmapitest: " + err.Error()) // only values of our own
	}
	return b
}
