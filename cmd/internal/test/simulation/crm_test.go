package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	"membersync/cmd/internal/test/oracle/history"
	"membersync/crmapi/crmapitest"
)

// Times of the calls: shorter than in production, in the same proportions.
const (
	callTimeout = 3 * time.Second
	lease       = 2*callTimeout + 5*time.Second
	// latestEffect is the latest time after its arrival at which a request takes effect, even if its
	// client is gone. It is within its lease, which lives at least 2 x callTimeout from then.
	latestEffect = 2*callTimeout - 500*time.Millisecond
)

const (
	corp     = "CORP_TEST"
	token    = "token"
	refused  = "refuse-"
	rejected = "reject-"
)

// A crmProxy is a proxy of the fake CRM. It decides when a request takes effect and which response
// the client gets, and keeps the log that the oracle reads: the fake's own log lacks the time of
// the effect.
type crmProxy struct {
	w      *world
	crm    *crmapitest.Server
	server *http.Server

	mu    sync.Mutex
	calls []*history.Call
	count map[string]int // requests, by member
	turn  int            // effects so far
}

func newFront(w *world, members []string, departments int64) *crmProxy {
	ids := make([]int64, departments)
	for i := range ids {
		ids[i] = int64(i + 1)
	}
	f := &crmProxy{w: w, count: make(map[string]int), crm: crmapitest.New(crmapitest.Options{
		CorpID: corp, Tokens: []string{token}, Members: members, Departments: ids,
	})}
	f.server = &http.Server{
		Handler: f, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if from, ok := c.(*arrival); ok {
				ctx = context.WithValue(ctx, instanceKey{}, from.instance)
			}
			return ctx
		},
	}
	return f
}

type instanceKey struct{}

// An arrival is a connection that knows which instance opened it.
type arrival struct {
	net.Conn
	instance int
}

// A gate is the CRM's listener for one instance.
type gate struct {
	net.Listener
	instance int
}

// Accept implements net.Listener.
func (g gate) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &arrival{c, g.instance}, nil
}

// ServeHTTP implements http.Handler.
func (f *crmProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	instance, _ := r.Context().Value(instanceKey{}).(int)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // a request without its body does not count
	}
	call, n := f.arrive(instance, body)
	p := f.w.faults.plan(call, n)
	f.w.log("call", "n", call.N, "instance", instance, "member", call.Member, "user", string(call.User), "plan", p.String())
	if !f.pass(r.Context(), call, p) {
		panic(http.ErrAbortHandler) // the client is gone
	}
	if p.before != "" {
		f.act(w, r, call, p.before, p)
		return
	}
	answer := f.effect(context.WithoutCancel(r.Context()), r, call, body)
	if p.after != "" {
		f.act(w, r, call, p.after, p)
		return
	}
	f.leave(call, answer.Code >= http.StatusInternalServerError, !applied(answer))
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

func (f *crmProxy) arrive(instance int, body []byte) (*history.Call, int) {
	var request struct {
		User json.RawMessage `json:"user"`
	}
	var user struct {
		Member string `json:"openUserId"`
	}
	if json.Unmarshal(body, &request) == nil {
		_ = json.Unmarshal(request.User, &user) // the oracle reports invalid ones
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	call := &history.Call{N: len(f.calls) + 1, Instance: instance, Member: user.Member, User: request.User, Arrived: time.Now()}
	f.calls = append(f.calls, call)
	f.count[user.Member]++
	return call, f.count[user.Member]
}

// pass waits until the request's turn and reports whether its client still waits. If not, the
// effect may still come.
func (f *crmProxy) pass(ctx context.Context, call *history.Call, p plan) bool {
	timer := time.NewTimer(p.latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		if ctx.Err() == nil {
			return true
		}
	case <-ctx.Done():
	}
	f.leave(call, true, true)
	if p.before != "" || !p.orphan {
		return false
	}
	f.w.fired("crm effect without a client", call.Instance)
	ctx = context.WithoutCancel(ctx)
	f.w.running.Go(func() {
		time.Sleep(time.Until(call.Arrived.Add(min(p.latency, latestEffect))))
		f.effect(ctx, nil, call, p.body(call))
	})
	return false
}

// effect applies the update. Effects are applied one at a time, so that their order is that of the
// log.
func (f *crmProxy) effect(ctx context.Context, r *http.Request, call *history.Call, body []byte) *httptest.ResponseRecorder {
	f.mu.Lock()
	defer f.mu.Unlock()
	answer := httptest.NewRecorder()
	switch user := string(call.User); {
	case strings.Contains(user, `"`+refused):
		answer.Body.WriteString(`{"traceId":"proxy","errorMessage":"refused","errorCode":10002}`)
		return answer
	case f.w.settings.storm.rejects(f.w, "crm", call.Member):
		answer.Body.WriteString(`{"traceId":"proxy","errorMessage":"refused","errorCode":10002}`)
		return answer
	case strings.Contains(user, `"`+rejected):
		answer.Body.WriteString(`{"traceId":"proxy","errorMessage":"taken","errorCode":201112011}`)
		return answer
	}
	target := crmapitest.UpdatePath + "?thirdTraceId=late-" + strconv.Itoa(call.N)
	if r != nil {
		target = r.URL.String()
	}
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	f.crm.ServeHTTP(answer, request)
	if applied(answer) {
		f.turn++
		call.Effect, call.Turn = time.Now(), f.turn
	}
	return answer
}

func applied(answer *httptest.ResponseRecorder) bool {
	return answer.Code == http.StatusOK && strings.Contains(answer.Body.String(), `"errorCode":0`)
}

// leave records that the client has its response or is gone, unless that is recorded already.
func (f *crmProxy) leave(call *history.Call, lost, failed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if call.Left.IsZero() {
		call.Left, call.Lost, call.Failed = time.Now(), lost, failed
	}
}

// act sends the client the response that the fault allows.
func (f *crmProxy) act(w http.ResponseWriter, r *http.Request, call *history.Call, kind string, p plan) {
	switch kind {
	case "hang":
		<-r.Context().Done()
		f.leave(call, true, true)
		panic(http.ErrAbortHandler)
	case "close":
		f.leave(call, true, true)
		panic(http.ErrAbortHandler)
	case "cut":
		f.leave(call, true, true)
		w.Header().Set("Content-Length", "200")
		_, _ = io.WriteString(w, `{"traceId":"proxy","error`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	default:
		a := answers()[kind]
		f.leave(call, a.unknown, true)
		if p.retryAfter != "" {
			w.Header().Set("Retry-After", p.retryAfter)
		}
		w.Header().Set("Content-Type", "application/json")
		if a.html {
			w.Header().Set("Content-Type", "text/html")
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}
}
