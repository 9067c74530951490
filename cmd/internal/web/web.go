// Package web serves the pages of membersync ui: what is wrong, since when, and what to do about
// it.
//
// Start with [New], which returns a [Server]. [Server.Handler] answers requests while
// [Server.Run] follows the topics and carries out jobs. Each page is a function from a visit to a
// reply, in a file of its own; access.go decides who may see it, render.go turns the reply into
// HTML, and texts.go holds all texts.
//
// The package calls ops for everything that it shows and does. It must not know flags, the
// environment, Kafka, Redis and printing.
package web

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"membersync/cmd/internal/ops"
)

//go:embed templates static
var files embed.FS

// maxBodyBytes bounds the body of a request: an edited value in a form takes up to three times its
// size.
const maxBodyBytes = 4 << 20

// Options are what a server needs. All but UserHeader are required.
type Options struct {
	Live *ops.Live
	// OperatorToken and ViewerToken return the current tokens; empty: there is none. If both are
	// empty, everybody who reaches the address is an operator, so it must be loopback.
	OperatorToken, ViewerToken func() string
	// UserHeader is the header in which a trusted proxy names the actor. It never authenticates.
	UserHeader string
	// Loopback reports that the server listens at loopback only. Then only requests for a name of
	// this machine are answered: a page of another name that resolves to loopback could act as the
	// user.
	Loopback bool
	Logger   *slog.Logger
	Metrics  *prometheus.Registry
}

// A Server serves the pages. Create it with [New]. It is safe for concurrent use.
type Server struct {
	Options
	live     *ops.Live
	access   *access
	pages    *pages
	jobs     *jobs
	handler  http.Handler
	sameSite *http.CrossOriginProtection
}

// New returns a server. It registers its metrics.
func New(o Options) (*Server, error) {
	pages, err := newPages()
	if err != nil {
		return nil, err
	}
	s := &Server{
		Options: o, live: o.Live, pages: pages, jobs: newJobs(),
		access:   newAccess(o.OperatorToken, o.ViewerToken, o.UserHeader),
		sameSite: http.NewCrossOriginProtection(),
	}
	if err := o.Metrics.Register(deadLetterMetrics{o.Live.Catalog()}); err != nil {
		return nil, err
	}
	s.handler = s.secured(s.routes())
	return s, nil
}

// Handler answers requests.
func (s *Server) Handler() http.Handler { return s.handler }

// Run follows the topics and carries out jobs until the context ends. A job that runs then stops:
// what it has begun is complete, and another process, or the next one, can resume it.
func (s *Server) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { s.live.Run(ctx) })
	for _, queue := range s.jobs.queues {
		all.Go(func() { s.jobs.work(ctx, queue) })
	}
	all.Wait()
}

func (s *Server) routes() http.Handler {
	jobs := jobPages{s}
	overview, deadLetters := overviewPages{jobs}, deadLetterPages{jobs}
	mapping, replays, employees := mappingPages{s}, replayPages{s}, employeePages{s}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: metricsTimeout}))
	mux.Handle("GET /static/", http.FileServerFS(files))
	mux.HandleFunc("GET /login", s.loginForm)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.logout)
	for pattern, show := range map[string]action{
		"GET /{$}": overview.overview, "GET /dead-letters": deadLetters.deadLetters, "GET /dead-letters/{id}": deadLetters.deadLetter,
		"GET /jobs/{id}": jobs.job, "GET /employees": employees.employees, "GET /audit": overview.audit,
		"GET /replays": replays.replays,
	} {
		mux.Handle(pattern, s.as(viewer, show))
	}
	mux.Handle("GET /employees/{id}", s.slowly(viewer, employees.employee))
	mux.Handle("POST /jobs", s.slowly(operator, deadLetters.startJob))
	mux.Handle("POST /replays/plan", s.slowly(operator, replays.planReplay))
	mux.Handle("GET /dead-letters/export", deadLetters.streamed(deadLetters.export))
	for pattern, act := range map[string]action{
		"POST /pause": overview.pause, "POST /resume": overview.resume,
		"POST /dead-letters/plan": deadLetters.plan, "POST /jobs/{id}/cancel": jobs.cancelJob,
		"POST /jobs/{id}/resume": jobs.resumeJob, "POST /jobs/{id}/end": jobs.endJob,
		"POST /dead-letters/{id}/reveal": deadLetters.reveal, "POST /dead-letters/{id}/edit": deadLetters.edit, "POST /dead-letters/{id}/edited": deadLetters.edited,
		"POST /replays/{id}/cancel": replays.cancelReplay,
		"GET /mapping":              mapping.mapping, "POST /mapping": mapping.tryMapping,
	} {
		mux.Handle(pattern, s.as(operator, act))
	}
	mux.Handle("/", s.as(viewer, func(context.Context, *visit) (reply, error) { return reply{}, errNotFound }))
	return mux
}

const metricsTimeout = 10 * time.Second

var errNotFound = errors.New("not found")

// secured adds the headers that every response has, and refuses requests for foreign hosts and from
// foreign origins.
func (s *Server) secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "+
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		if s.Loopback && !isLocalHost(r.Host) {
			plain(w, http.StatusMisdirectedRequest, text("error.host"))
			return
		}
		if err := s.sameSite.Check(r); err != nil {
			plain(w, http.StatusForbidden, text("error.origin"))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
		next.ServeHTTP(w, r)
	})
}
