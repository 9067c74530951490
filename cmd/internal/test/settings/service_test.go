package settings_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"

	"membersync/crmapi/crmapitest"
)

func serviceTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"SHUTDOWN_TIMEOUT": shutdownTimeout, "ADMIN_ADDR": adminAddr, "LOG_LEVEL": logLevel, "LOG_FORMAT": logFormat,
	}
}

// A hanging call is abandoned at the time limit, and not before.
func shutdownTimeout(s *settingTest) {
	short, long := s.rig(), s.rig()
	start := func(r *rig, limit string) *program {
		r.CRM.Block(crmapitest.BeforeEffect)
		r.produce(r.title("ev", 1))
		p := r.start("SHUTDOWN_TIMEOUT", limit, "CRM_TIMEOUT", "50s")
		s.eventually("the call to hang", func() bool { return r.CRM.Blocked() == 1 })
		p.Cancel()
		p.says("stopping")
		return p
	}
	q := start(long, "40s")
	p := start(short, "100ms")
	p.says(`"limit":"100ms"`)
	if status := p.Status(); status != exitDone || len(p.seen.outcomes("ev")) != 0 {
		s.t.Errorf("status %d, outcomes %v", status, p.seen.outcomes("ev"))
	}
	long.CRM.Release()
	if status := q.Status(); status != exitDone {
		s.t.Errorf("status %d", status)
	}
	q.applies("ev")
	given, drained := s.broker.Lag(s.t, short.Group, short.Topic), s.broker.Lag(s.t, long.Group, long.Topic)
	if given != 1 || drained != 0 {
		s.t.Errorf("lag %d after the limit, %d after the drain", given, drained)
	}
}

// The admin server listens at the configured address, or not at all.
func adminAddr(s *settingTest) {
	r := s.rig()
	p := r.start("ADMIN_ADDR", "")
	for addr, loopback := range map[string]bool{"127.0.0.1:0": true, ":0": false} {
		q := r.start("ADMIN_ADDR", addr, "KAFKA_GROUP", s.broker.Group(s.t))
		q.says("admin server listens")
		host, port, err := net.SplitHostPort(regexp.MustCompile(`"addr":"([^"]*)"`).FindStringSubmatch(q.Logs.String())[1])
		if err != nil || (host == "127.0.0.1") != loopback {
			s.t.Errorf("%s: listens at %s: %v", addr, host, err)
		}
		if got := s.get("http://127.0.0.1:" + port + "/livez"); got != "ok\n" {
			s.t.Errorf("%s: livez says %q", addr, got)
		}
	}
	p.says(joined)
	if strings.Contains(p.Logs.String(), "listens") {
		s.t.Error("it listens without an address")
	}
}

func (s *settingTest) get(url string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(body)
}

// Lines of at least the level appear.
func logLevel(s *settingTest) {
	for level, want := range map[string][]string{
		"debug": {"DEBUG", "INFO", "WARN"}, "info": {"INFO", "WARN"}, "warn": {"WARN"}, "error": nil,
	} {
		r := s.rig()
		r.produce(r.title("ev", 1), r.change("bad", 2, map[string]any{"gender": "X"}))
		p := r.start("LOG_LEVEL", level)
		p.applies("ev")
		s.eventually("the dead letter", func() bool { return len(p.seen.outcomes("bad")) == 1 })
		p.Stop()
		var got []string
		for _, l := range []string{"DEBUG", "INFO", "WARN"} {
			if strings.Contains(p.Logs.String(), `"level":"`+l+`"`) {
				got = append(got, l)
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			s.t.Errorf("level %s: lines of %v, want %v", level, got, want)
		}
	}
	s.logLevelWhileRunning()
}

// The running service takes the level of the YAML file, but not what is no level.
func (s *settingTest) logLevelWhileRunning() {
	r := s.rig()
	r.SetFile("level.yaml", "log: {level: info}\n")
	p := r.start("CONFIG", "level.yaml")
	p.says(joined)
	r.SetFile("level.yaml", "log: {level: loud}\n")
	p.says("log level not read again; it stays")
	r.SetFile("level.yaml", "log: {level: debug}\n")
	p.says("log level changed")
	r.produce(r.title("ev", 1))
	p.says(`"level":"DEBUG"`)
	p.Stop()
}

// A line is JSON or text.
func logFormat(s *settingTest) {
	r := s.rig()
	jsonLines, textLines := r.start("LOG_FORMAT", "json"), r.start("LOG_FORMAT", "text", "KAFKA_GROUP", s.broker.Group(s.t))
	jsonLines.says(`"msg":"` + joined + `"`)
	textLines.says(`msg="` + joined + `"`)
	jsonLines.Stop()
	textLines.Stop()
	for line := range strings.Lines(jsonLines.Logs.String()) {
		if !json.Valid([]byte(line)) {
			s.t.Errorf("not JSON: %s", line)
		}
	}
	for line := range strings.Lines(textLines.Logs.String()) {
		if !strings.HasPrefix(line, "time=") {
			s.t.Errorf("not text: %s", line)
		}
	}
}
