package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const dlqRetention = time.Hour

// get is a page of each kind, changing what a form sends to it.
func pagesOfViewers() []string {
	return []string{"/", "/dead-letters", "/dead-letters?q=text:x", "/dead-letters/export", "/employees", "/replays", "/audit", "/mapping", "/unknown"}
}

func changes() []string {
	return []string{
		"/pause", "/resume", "/dead-letters/plan", "/jobs", "/jobs/x/cancel", "/dead-letters/0:1:0/reveal", "/dead-letters/0:1:0/edit",
		"/dead-letters/0:1:0/edited", "/replays/x/cancel", "/replays/plan", "/mapping",
	}
}

// Without a login nothing is shown and nothing is changed; health and metrics are, and hold no
// personal data.
func TestWithoutLogin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser()
	for _, path := range pagesOfViewers() {
		p := b.get(path)
		if want := "/login?next=" + url.QueryEscape(path); p.status != http.StatusSeeOther || p.header.Get("Location") != want {
			t.Errorf("%s: status %d, location %q", path, p.status, p.header.Get("Location"))
		}
	}
	for _, path := range changes() {
		if p := b.do(http.MethodPost, path, url.Values{}); p.status != http.StatusUnauthorized {
			t.Errorf("POST %s: status %d", path, p.status)
		}
	}
	if got := b.must("/livez"); got != "ok\n" {
		t.Errorf("livez: %q", got)
	}
	metrics := b.must("/metrics")
	for _, want := range []string{
		`membersync_dead_letters_open{reason="crm_not_found"} 0`, `membersync_dead_letters_oldest_seconds{reason="malformed"} 0`, "membersync_build_info{",
		"process_start_time_seconds ",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s: %s", want, metrics)
		}
	}
}

// Every response forbids inline code, framing and caching.
func TestHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.operator()
	for _, path := range append(pagesOfViewers(), "/login", "/livez", "/static/style.css", "/static/script.js") {
		p := b.get(path)
		csp := p.header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") {
			t.Errorf("%s: CSP %q", path, csp)
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"} {
			if got := p.header.Get(name); got != want {
				t.Errorf("%s: %s %q", path, name, got)
			}
		}
		if strings.Contains(p.text, " style=") || strings.Contains(p.text, "<style") || strings.Contains(p.text, " onclick=") {
			t.Errorf("%s has inline code", path)
		}
	}
}

// Wrong tokens do not log in, and after five of them in a minute not even the right one does.
func TestLoginIsLimited(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser()
	for i := range 5 {
		if p := b.login("wrong"); p.status != http.StatusUnauthorized {
			t.Fatalf("%d: status %d", i, p.status)
		}
	}
	if p := b.login(operatorToken); p.status != http.StatusTooManyRequests || p.header.Get("Retry-After") == "" {
		t.Errorf("status %d", p.status)
	}
	if p := b.get("/", bearer(operatorToken)); p.status != http.StatusTooManyRequests {
		t.Errorf("bearer: status %d", p.status)
	}
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// A form that is shown stays valid while the browser loads other pages, such as an icon.
func TestLoginFormStaysValid(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser()
	form := b.must("/login")
	for _, path := range []string{"/favicon.ico", "/", "/login"} {
		if p := b.get(path); p.status == http.StatusSeeOther {
			b.must(p.header.Get("Location"))
		}
	}
	if p := b.submit(form, "/login", "token", operatorToken, "name", "sample"); p.status != http.StatusSeeOther {
		t.Errorf("status %d", p.status)
	}
}

// A login needs the token of its own form, and a name.
func TestLoginForm(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser()
	form := url.Values{"token": {operatorToken}, "name": {"sample"}, "csrf": {"guessed"}}
	if p := b.do(http.MethodPost, "/login", form); p.status != http.StatusForbidden {
		t.Errorf("without the form: status %d", p.status)
	}
	if p := b.submit(b.must("/login"), "/login", "token", operatorToken, "name", " "); p.status != http.StatusUnprocessableEntity {
		t.Errorf("without a name: status %d", p.status)
	}
	for next, want := range map[string]string{
		"/audit?actor=a": "/audit?actor=a", "//evil.example": "/", "https://evil.example/": "/", `/\evil.example`: "/", "evil": "/", "": "/",
	} {
		p := b.submit(b.must("/login?next="+url.QueryEscape(next)), "/login", "token", operatorToken, "name", "sample")
		if p.status != http.StatusSeeOther || p.header.Get("Location") != want {
			t.Errorf("next %q: status %d, location %q, want %q", next, p.status, p.header.Get("Location"), want)
		}
	}
}

// The cookie is out of reach for scripts and other sites, and for plain connections behind TLS.
func TestCookie(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for proto, secure := range map[string]bool{"https": true, "http": false, "": false} {
		b := r.browser()
		text := b.must("/login")
		form := hidden(t, text, "/login")
		form.Set("token", operatorToken)
		form.Set("name", "sample")
		p := b.do(http.MethodPost, "/login", form, func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", proto) })
		cookie := strings.Join(p.header.Values("Set-Cookie"), "\n")
		if !strings.Contains(cookie, "membersync_session=") || strings.Count(cookie, "HttpOnly") != 2 || strings.Count(cookie, "SameSite=Strict") != 2 ||
			strings.Contains(cookie, "Secure") != secure {
			t.Errorf("%q: %s", proto, cookie)
		}
	}
}

// A session that was ended, of another host or invented is no session.
func TestSessionReuse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.operator()
	at, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	kept := b.Jar.Cookies(at)
	overview := b.must("/")
	with := func(r *http.Request) {
		for _, c := range kept {
			r.AddCookie(c)
		}
	}
	other := r.browser()
	if p := other.get("/", with, func(r *http.Request) { r.Host = "localhost:" + at.Port() }); p.status != http.StatusSeeOther {
		t.Errorf("at another host: status %d", p.status)
	}
	if p := other.get("/", with); p.status != http.StatusOK {
		t.Errorf("the copied cookie: status %d", p.status)
	}
	if p := b.submit(overview, "/logout"); p.status != http.StatusSeeOther {
		t.Errorf("logout: status %d", p.status)
	}
	if p := other.get("/", with); p.status != http.StatusSeeOther {
		t.Errorf("after logout: status %d", p.status)
	}
	if p := other.get("/", func(r *http.Request) { r.Header.Set("Cookie", "membersync_session=invented") }); p.status != http.StatusSeeOther {
		t.Errorf("invented: status %d", p.status)
	}
}

// A form of another site changes nothing, whatever it can send.
func TestCrossSite(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.operator()
	csrf := hidden(t, b.must("/"), "/pause").Get("csrf")
	for name, c := range map[string]struct {
		csrf   string
		change func(*http.Request)
	}{
		"foreign origin":        {csrf, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }},
		"null origin":           {csrf, func(r *http.Request) { r.Header.Set("Origin", "null") }},
		"cross-site":            {csrf, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }},
		"same site, not origin": {csrf, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }},
		"no csrf":               {"", func(*http.Request) {}},
		"other csrf":            {"guessed", func(*http.Request) {}},
	} {
		for _, path := range append(changes(), "/logout") {
			if p := b.do(http.MethodPost, path, url.Values{"csrf": {c.csrf}}, c.change); p.status != http.StatusForbidden {
				t.Errorf("%s: POST %s: status %d", name, path, p.status)
			}
		}
	}
	if lines := r.audit(); len(lines) != 0 {
		t.Errorf("audit: %v", lines)
	}
}

// Pages at loopback answer for its names only.
func TestForeignHost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.operator()
	for _, host := range []string{"evil.example", "evil.example:80", "10.0.0.1", "localhost.evil.example", "127.0.0.1.evil.example"} {
		if p := b.get("/login", func(r *http.Request) { r.Host = host }); p.status != http.StatusMisdirectedRequest {
			t.Errorf("%s: status %d", host, p.status)
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8081"} {
		if p := b.get("/login", func(r *http.Request) { r.Host = host }); p.status != http.StatusOK {
			t.Errorf("%s: status %d", host, p.status)
		}
	}
}

// A viewer sees the pages and changes nothing.
func TestViewer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.browser()
	b.login(viewerToken)
	csrf := hidden(t, b.must("/"), "/logout").Get("csrf")
	for _, path := range changes() {
		if p := b.do(http.MethodPost, path, url.Values{"csrf": {csrf}, "note": {"n"}}); p.status != http.StatusForbidden {
			t.Errorf("POST %s: status %d", path, p.status)
		}
		if p := r.browser().do(http.MethodPost, path, url.Values{"note": {"n"}}, bearer(viewerToken)); p.status != http.StatusForbidden {
			t.Errorf("bearer POST %s: status %d", path, p.status)
		}
	}
	if p := b.get("/mapping"); p.status != http.StatusForbidden {
		t.Errorf("mapping: status %d", p.status)
	}
	if lines := r.audit(); len(lines) != 0 {
		t.Errorf("audit: %v", lines)
	}
}

// A request with a token needs no session. The actor is the one that the proxy names, or that the
// login form was given.
func TestActors(t *testing.T) {
	t.Parallel()
	r := newRig(t, "UI_USER_HEADER", "X-Forwarded-User")
	named := func(r *http.Request) { r.Header.Set("X-Forwarded-User", "proxy-user\u202e") }
	script := r.browser()
	if p := script.do(http.MethodPost, "/pause", url.Values{"note": {"one"}}, bearer(operatorToken)); p.status != http.StatusSeeOther {
		t.Errorf("status %d: %s", p.status, p.text)
	}
	script.do(http.MethodPost, "/pause", url.Values{"note": {"two"}}, bearer(operatorToken), named)
	b := r.operator()
	b.submit(b.must("/"), "/resume", "note", "three")
	if p := r.browser().get("/", named); p.status != http.StatusSeeOther {
		t.Errorf("the header alone: status %d", p.status)
	}
	if p := r.browser().get("/", bearer("wrong")); p.status != http.StatusUnauthorized {
		t.Errorf("a wrong token: status %d", p.status)
	}
	want := []string{
		"pause " + r.Group + " done token one", "pause " + r.Group + ` done proxy-user\u202e two`, "resume " + r.Group + " done sample (unverified) three",
	}
	if got := r.audit(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("audit: %q, want %q", got, want)
	}
}

// Without tokens, at loopback, the form asks for a name only. Beyond loopback the pages do not
// start.
func TestWithoutTokens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	delete(r.Variables, "UI_TOKEN")
	delete(r.Variables, "UI_VIEWER_TOKEN")
	_, r.url = r.StartUI()
	b := r.browser()
	form := b.must("/login")
	if strings.Contains(form, "password") {
		t.Error("the form asks for a token")
	}
	if p := b.submit(form, "/login", "name", "sample"); p.status != http.StatusSeeOther {
		t.Errorf("status %d: %s", p.status, p.text)
	}
	b.must("/mapping")
	if p := r.browser().get("/", bearer("x")); p.status != http.StatusUnauthorized {
		t.Errorf("a token: status %d", p.status)
	}
}
