package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// A role is what a visitor may do.
type role int

const (
	noRole role = iota
	viewer
	operator
)

const (
	sessionCookie = "membersync_session"
	loginCookie   = "membersync_login"
	sessionIdle   = 2 * time.Hour
	sessionAge    = 12 * time.Hour
	maxSessions   = 1000
	maxNameRunes  = 100

	// failures of logins: so many in a window, of one address and of all.
	failureWindow    = time.Minute
	failuresOfOne    = 5
	failuresOfAll    = 100
	maxFailingSource = 10_000
)

// A session is that of a browser. Its fields do not change, apart from those under the lock of
// access.
type session struct {
	role    role
	name    string // as given at the login
	host    string // that it logged in at
	csrf    string
	token   [sha256.Size]byte // of the token that it logged in with
	expires time.Time         // in any case

	idle   time.Time // when it ends without a request
	notice string    // for the next page
}

// An access decides who a visitor is. It is safe for concurrent use.
type access struct {
	operatorToken, viewerToken func() string
	userHeader                 string

	mu       sync.Mutex
	sessions map[[sha256.Size]byte]*session // by the hash of what the cookie holds
	failures map[string]int                 // of logins in the window, by address
	failed   int                            // of all
	window   time.Time                      // when it ends
}

func newAccess(operatorToken, viewerToken func() string, userHeader string) *access {
	return &access{
		operatorToken: operatorToken, viewerToken: viewerToken, userHeader: userHeader,
		sessions: map[[sha256.Size]byte]*session{}, failures: map[string]int{},
	}
}

// needsToken reports whether a token is needed to log in.
func (a *access) needsToken() bool { return a.operatorToken() != "" || a.viewerToken() != "" }

// roleOf returns the role that a token gives.
func (a *access) roleOf(token string) role {
	given := sha256.Sum256([]byte(token))
	is := func(wanted string) bool {
		sum := sha256.Sum256([]byte(wanted))
		return subtle.ConstantTimeCompare(given[:], sum[:]) == 1 && wanted != ""
	}
	isOperator, isViewer := is(a.operatorToken()), is(a.viewerToken())
	switch {
	case isOperator, !a.needsToken():
		return operator
	case isViewer:
		return viewer
	}
	return noRole
}

// open begins a session, and returns what its cookie holds.
func (a *access) open(r *http.Request, who role, name, token string, now time.Time) string {
	id := rand.Text()
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, s := range a.sessions {
		if s.isOver(now) {
			delete(a.sessions, key)
		}
	}
	if len(a.sessions) >= maxSessions {
		var oldest [sha256.Size]byte
		var idle time.Time
		for key, s := range a.sessions {
			if idle.IsZero() || s.idle.Before(idle) {
				oldest, idle = key, s.idle
			}
		}
		delete(a.sessions, oldest)
	}
	a.sessions[sha256.Sum256([]byte(id))] = &session{
		role: who, name: name, host: r.Host, csrf: rand.Text(), token: sha256.Sum256([]byte(token)),
		idle: now.Add(sessionIdle), expires: now.Add(sessionAge),
	}
	return id
}

func (s *session) isOver(now time.Time) bool { return now.After(s.idle) || now.After(s.expires) }

// find returns the session of a request; nil: it has none that is valid.
func (a *access) find(r *http.Request, now time.Time) *session {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	key := sha256.Sum256([]byte(cookie.Value))
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[key]
	if s == nil || s.host != r.Host {
		return nil
	}
	if s.isOver(now) || !a.isCurrent(s) {
		delete(a.sessions, key)
		return nil
	}
	s.idle = now.Add(sessionIdle)
	return s
}

// isCurrent reports whether the token of a session still gives its role.
func (a *access) isCurrent(s *session) bool {
	wanted := a.operatorToken()
	if s.role == viewer {
		wanted = a.viewerToken()
	}
	if !a.needsToken() {
		return s.token == sha256.Sum256(nil)
	}
	return wanted != "" && s.token == sha256.Sum256([]byte(wanted))
}

// end ends the session of a request.
func (a *access) end(r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.sessions, sha256.Sum256([]byte(cookie.Value)))
	}
}

// notify leaves a notice for the session's next page.
func (a *access) notify(s *session, notice string) {
	if s != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		s.notice = notice
	}
}

func (a *access) takeNotice(s *session) (notice string) {
	if s != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		notice, s.notice = s.notice, ""
	}
	return notice
}

// mayTry reports whether another login from an address is looked at.
func (a *access) mayTry(r *http.Request, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.After(a.window) {
		clear(a.failures)
		a.failed, a.window = 0, now.Add(failureWindow)
	}
	return a.failed < failuresOfAll && a.failures[sourceOf(r)] < failuresOfOne
}

// hasFailed counts a login with a wrong token.
func (a *access) hasFailed(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed++
	if len(a.failures) < maxFailingSource {
		a.failures[sourceOf(r)]++
	}
}

// sourceOf is the address that a request comes from; of IPv6 its network.
func sourceOf(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	if addr := at.Addr().Unmap(); addr.Is6() {
		const network = 64
		if prefix, err := addr.Prefix(network); err == nil {
			return prefix.String()
		}
	}
	return at.Addr().Unmap().String()
}

// isLocalHost reports whether a Host header names this machine's loopback.
func isLocalHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return strings.EqualFold(name, "localhost")
}

// isTLS reports whether the browser's connection is encrypted, as far as is known.
func isTLS(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func cookie(r *http.Request, name, value string) *http.Cookie {
	//nolint:gosec // Secure is as the connection: at loopback there is no TLS
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: isTLS(r), SameSite: http.SameSiteStrictMode}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// A visit is a request of a visitor who is known.
type visit struct {
	w       http.ResponseWriter
	r       *http.Request
	role    role
	actor   string   // as recorded
	session *session // nil: the request has a token of its own
	now     time.Time
}

// csrf is what a form must send back.
func (v *visit) csrf() string {
	if v.session == nil {
		return ""
	}
	return v.session.csrf
}

func (v *visit) isOperator() bool { return v.role == operator }

// form returns the trimmed value of a field.
func (v *visit) form(name string) string { return strings.TrimSpace(v.r.FormValue(name)) }

// How long a visitor waits: for Kafka and Redis, and for what reads a range of the source topic or
// writes many records.
const (
	answerTimeout = 15 * time.Second
	slowTimeout   = 60 * time.Second
)

var (
	errAnswerTimeout = errors.New("no answer within 15s: Kafka or Redis does not respond")
	errSlowTimeout   = errors.New("no answer within 60s: use the command, or a shorter range")
)

// An action answers a visit.
type action func(context.Context, *visit) (reply, error)

// as answers visitors who have a role.
func (s *Server) as(least role, act action) http.Handler {
	return s.within(answerTimeout, errAnswerTimeout, least, act)
}

// slowly is as for an action that may take longer than others.
func (s *Server) slowly(least role, act action) http.Handler {
	return s.within(slowTimeout, errSlowTimeout, least, func(ctx context.Context, v *visit) (reply, error) {
		_ = http.NewResponseController(v.w).SetWriteDeadline(v.now.Add(slowTimeout + answerTimeout))
		return act(ctx, v)
	})
}

func (s *Server) within(limit time.Duration, cause error, least role, act action) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := s.visitor(w, r, least)
		if v == nil {
			return
		}
		ctx, cancel := context.WithTimeoutCause(r.Context(), limit, cause)
		defer cancel()
		answer, err := act(ctx, v)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		s.answer(r.Context(), v, answer, err)
	})
}

// visitor returns who has sent a request. Nil: it was refused.
func (s *Server) visitor(w http.ResponseWriter, r *http.Request, least role) *visit {
	now := time.Now()
	v := &visit{w: w, r: r, now: now}
	bearer, hasBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case hasBearer && !s.access.mayTry(r, now):
		plain(w, http.StatusTooManyRequests, text("login.often"))
		return nil
	case hasBearer && s.access.needsToken():
		v.role, v.actor = s.access.roleOf(bearer), text("actor.bearer")
		if v.role == noRole {
			s.access.hasFailed(r)
		}
	default:
		if v.session = s.access.find(r, now); v.session != nil {
			v.role, v.actor = v.session.role, v.session.name+" "+text("actor.unverified")
		}
	}
	if named := cleanName(r.Header.Get(s.UserHeader)); s.UserHeader != "" && named != "" {
		v.actor = named
	}
	switch {
	case v.role == noRole && (hasBearer || r.Method != http.MethodGet):
		plain(w, http.StatusUnauthorized, text("error.login"))
		return nil
	case v.role == noRole:
		http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return nil
	case v.role < least:
		s.answer(r.Context(), v, reply{}, errViewer)
		return nil
	case r.Method != http.MethodGet && v.session != nil && !isSame(r.FormValue("csrf"), v.session.csrf):
		plain(w, http.StatusForbidden, text("error.csrf"))
		return nil
	}
	return v
}

func isSame(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// cleanName returns a name of printable runes, of bounded length.
func cleanName(name string) string {
	name = strings.TrimSpace(string(visible([]byte(name))))
	if utf8.RuneCountInString(name) > maxNameRunes {
		name = string([]rune(name)[:maxNameRunes])
	}
	return name
}
