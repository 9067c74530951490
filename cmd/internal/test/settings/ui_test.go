package settings_test

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/dlq"
)

func uiTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"UI_ADDR": uiAddr, "UI_TOKEN": uiToken, "UI_TOKEN_FILE": uiTokenFile, "UI_VIEWER_TOKEN": uiViewerToken,
		"UI_VIEWER_TOKEN_FILE": uiViewerTokenFile, "UI_USER_HEADER": uiUserHeader,
	}
}

// The pages are served at the configured address; beyond loopback only with a token.
func uiAddr(s *settingTest) {
	r := s.rig()
	_, at := r.StartUI()
	if got := s.get(at + "/livez"); got != "ok\n" {
		s.t.Errorf("livez says %q", got)
	}
	_, open := r.StartUI("UI_ADDR", ":0", "UI_TOKEN", "sample")
	u, err := url.Parse(open)
	if err != nil {
		s.t.Fatal(err)
	}
	if got := s.get("http://" + net.JoinHostPort("127.0.0.1", u.Port()) + "/livez"); got != "ok\n" {
		s.t.Errorf("at all addresses, livez says %q", got)
	}
	for addr, why := range map[string]string{":0": "can be reached from other machines", "": "MEMBERSYNC_UI_ADDR is empty"} {
		p := r.StartRefusedUI("UI_ADDR", addr)
		if status := p.Status(); status != exitUsage || !strings.Contains(p.Logs.String(), why) {
			s.t.Errorf("%q: status %d: %s", addr, status, p.Logs)
		}
	}
}

// as sends a request with a token, and returns the status.
func (s *settingTest) as(token, method, url string, header ...string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// may checks what a token may do: look at a page, and plan a replay, which only operators may.
func (s *settingTest) may(at, token string, look, plan int) {
	s.t.Helper()
	if got := s.as(token, http.MethodGet, at+"/audit"); got != look {
		s.t.Errorf("%s: look: status %d, want %d", token, got, look)
	}
	if got := s.as(token, http.MethodPost, at+"/replays/plan"); got != plan {
		s.t.Errorf("%s: plan: status %d, want %d", token, got, plan)
	}
}

const (
	planned   = http.StatusUnprocessableEntity // the plan names no range
	forbidden = http.StatusForbidden
	unknown   = http.StatusUnauthorized
)

// Who has the token is an operator.
func uiToken(s *settingTest) {
	_, at := s.rig().StartUI("UI_TOKEN", "sample-token")
	s.may(at, "sample-token", http.StatusOK, planned)
	s.may(at, "sample-other", unknown, unknown)
}

// A token that is replaced in its file counts from then on.
func uiTokenFile(s *settingTest) {
	s.follows("UI_TOKEN_FILE", planned)
}

// Who has the viewers' token may look.
func uiViewerToken(s *settingTest) {
	_, at := s.rig().StartUI("UI_VIEWER_TOKEN", "sample-token")
	s.may(at, "sample-token", http.StatusOK, forbidden)
	s.may(at, "sample-other", unknown, unknown)
}

func uiViewerTokenFile(s *settingTest) {
	s.follows("UI_VIEWER_TOKEN_FILE", forbidden)
}

func (s *settingTest) follows(name string, plan int) {
	s.t.Helper()
	r := s.rig()
	r.SetFile("/token", "sample-first\n")
	_, at := r.StartUI(name, "/token")
	s.may(at, "sample-first", http.StatusOK, plan)
	r.SetFile("/token", "sample-second\n")
	s.eventually("the first token to end", func() bool { return s.as("sample-first", http.MethodGet, at+"/audit") == unknown })
	s.may(at, "sample-second", http.StatusOK, plan)
}

// The header names the actor, and does not authenticate.
func uiUserHeader(s *settingTest) {
	r := s.rig()
	topics := dlq.Topics{Source: r.Topic, DLQ: r.Topic + ".dlq", Redrive: r.Topic + ".redrive", Audit: r.Topic + ".audit"}
	if err := dlq.EnsureTopics(s.t.Context(), r.Broker.Client(s.t), dlq.TopicSpec{Topics: topics, Retention: servicetest.Limit, Create: true}); err != nil {
		s.t.Fatal(err)
	}
	_, at := r.StartUI("UI_TOKEN", "sample-token", "UI_USER_HEADER", "X-Sample-User")
	_, plain := r.StartUI("UI_TOKEN", "sample-token")
	if got := s.as("sample-other", http.MethodPost, at+"/pause", "X-Sample-User", "sample-a"); got != unknown {
		s.t.Errorf("the header alone: status %d", got)
	}
	s.as("sample-token", http.MethodPost, at+"/pause", "X-Sample-User", "sample-b")
	s.as("sample-token", http.MethodPost, plain+"/pause", "X-Sample-User", "sample-c")
	var actors []string
	for _, m := range r.Broker.ReadAll(s.t, topics.Audit) {
		a, err := dlq.ParseAudit(m.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		actors = append(actors, a.Actor)
	}
	if strings.Join(actors, " ") != "sample-b token" {
		s.t.Errorf("actors %q", actors)
	}
}
