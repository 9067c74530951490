package web

import (
	"cmp"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"
)

type loginData struct {
	NeedsToken, NeedsName bool
	CSRF, Next, Name      string
	Problem               string
}

func (s *Server) loginForm(w http.ResponseWriter, r *http.Request) {
	s.showLogin(w, r, http.StatusOK, "")
}

// showLogin shows the form. Its token is that of a cookie: there is no session yet.
func (s *Server) showLogin(w http.ResponseWriter, r *http.Request, status int, problem string) {
	token := rand.Text()
	// Another tab, or the browser's request for an icon, must not make a form invalid that is shown.
	if shown, err := r.Cookie(loginCookie); err == nil && len(shown.Value) == len(token) {
		token = shown.Value
	}
	http.SetCookie(w, cookie(r, loginCookie, token))
	s.pages.write(w, status, "login", text("login.title"), loginData{
		NeedsToken: s.access.needsToken(), NeedsName: s.proxyUser(r) == "", CSRF: token, Problem: problem,
		Next: localPath(r.FormValue("next")), Name: cleanName(r.PostFormValue("name")),
	})
}

// proxyUser is the actor that a trusted proxy names.
func (s *Server) proxyUser(r *http.Request) string {
	if s.UserHeader == "" {
		return ""
	}
	return cleanName(r.Header.Get(s.UserHeader))
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	expected, err := r.Cookie(loginCookie)
	if err != nil || expected.Value == "" || !isSame(expected.Value, r.PostFormValue("csrf")) {
		s.showLogin(w, r, http.StatusForbidden, text("error.csrf"))
		return
	}
	if !s.access.mayTry(r, now) {
		w.Header().Set("Retry-After", "60")
		s.showLogin(w, r, http.StatusTooManyRequests, text("login.often"))
		return
	}
	token := r.PostFormValue("token")
	if !s.access.needsToken() {
		token = ""
	}
	given := s.access.roleOf(token)
	if given == noRole {
		s.access.hasFailed(r)
		s.showLogin(w, r, http.StatusUnauthorized, text("login.wrong"))
		return
	}
	name := cmp.Or(s.proxyUser(r), cleanName(r.PostFormValue("name")))
	if name == "" {
		s.showLogin(w, r, http.StatusUnprocessableEntity, text("login.name.missing"))
		return
	}
	s.access.end(r) // a session that the browser had before
	http.SetCookie(w, cookie(r, loginCookie, ""))
	http.SetCookie(w, cookie(r, sessionCookie, s.access.open(r, given, name, token, now)))
	http.Redirect(w, r, localPath(r.PostFormValue("next")), http.StatusSeeOther) //nolint:gosec // localPath lets no other host pass
}

// localPath returns a path of this server; / for anything else.
func localPath(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.Contains(path, `\`) {
		return "/"
	}
	return path
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	v := s.visitor(w, r, viewer)
	if v == nil {
		return
	}
	s.access.end(r)
	http.SetCookie(w, cookie(r, sessionCookie, ""))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}
