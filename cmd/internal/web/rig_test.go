package web_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"membersync/cmd/internal/cli"
	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		env := cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), ReadFile: os.ReadFile}
		os.Exit(cli.Run(context.Background(), []string{"ui"}, env)) //nolint:forbidigo // it is the program
	}
	flag.Parse()
	// The tests mostly wait, and need little CPU.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // as goleak does
	}
	dedupe.SetClientLog(slog.New(slog.DiscardHandler)) // as the program does in its own process
	goleak.VerifyTestMain(m)
}

const (
	operatorToken = "sample-operator-token"
	viewerToken   = "sample-viewer-token"
)

// A rig is a running membersync ui with its surroundings.
type rig struct {
	*servicetest.Rig
	t   *testing.T
	url string
}

// newRig starts the pages. The pairs are settings.
func newRig(t *testing.T, pairs ...string) *rig {
	t.Helper()
	return newRigOn(t, kafkatest.Start(t), pairs...)
}

func newRigOn(t *testing.T, broker *kafkatest.Broker, pairs ...string) *rig {
	t.Helper()
	r := &rig{Rig: servicetest.New(t, broker, servicetest.Options{Partitions: 1, CRM: crmapitest.Options{}}), t: t}
	r.Variables["STATE_KEY"] = "a key made up for tests, 32 bytes or more"
	r.Variables["DLQ_STORM_SHARE"] = "0"
	r.Variables["UI_TOKEN"], r.Variables["UI_VIEWER_TOKEN"] = operatorToken, viewerToken
	topics := dlq.Topics{Source: r.Topic, DLQ: r.Topic + ".dlq", Redrive: r.Topic + ".redrive", Audit: r.Topic + ".audit"}
	if err := dlq.EnsureTopics(t.Context(), r.Broker.Client(t), dlq.TopicSpec{Topics: topics, Retention: dlqRetention, Create: true}); err != nil {
		t.Fatal(err)
	}
	_, r.url = r.StartUI(pairs...)
	return r
}

// A browser keeps cookies, and follows no redirects.
type browser struct {
	*http.Client
	t   *testing.T
	url string
}

func (r *rig) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	transport := &http.Transport{}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: r.t, url: r.url, Client: &http.Client{
		Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// A page is a response.
type page struct {
	status int
	header http.Header
	text   string
}

func (b *browser) do(method, path string, form url.Values, change ...func(*http.Request)) page {
	b.t.Helper()
	body := io.Reader(http.NoBody)
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", b.url)
	}
	for _, f := range change {
		f(req)
	}
	res, err := b.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{res.StatusCode, res.Header, string(text)}
}

func (b *browser) get(path string, change ...func(*http.Request)) page {
	b.t.Helper()
	return b.do(http.MethodGet, path, nil, change...)
}

// must gets a page that exists.
func (b *browser) must(path string) string {
	b.t.Helper()
	p := b.get(path)
	if p.status != http.StatusOK {
		b.t.Fatalf("%s: status %d: %s", path, p.status, p.text)
	}
	return p.text
}

// hidden returns the hidden fields of the form of a page that has an action; of several inputs of
// one name, all.
func hidden(t *testing.T, text, action string) url.Values {
	t.Helper()
	at := regexp.MustCompile(`(?s)<form[^>]*action="` + regexp.QuoteMeta(action) + `".*?</form>`).FindString(text)
	if at == "" {
		t.Fatalf("no form %s in %s", action, text)
	}
	form := url.Values{}
	for _, m := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`).FindAllStringSubmatch(at, -1) {
		form.Add(m[1], unescape(m[2]))
	}
	return form
}

func unescape(text string) string {
	return strings.NewReplacer("&#34;", `"`, "&#39;", "'", "&lt;", "<", "&gt;", ">", "&#43;", "+", "&amp;", "&").Replace(text)
}

// submit fills in the form of a page and sends it. The pairs replace fields.
func (b *browser) submit(text, action string, pairs ...string) page {
	b.t.Helper()
	form := hidden(b.t, text, action)
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return b.do(http.MethodPost, action, form)
}

// login logs in with a token; the name is sample.
func (b *browser) login(token string) page {
	b.t.Helper()
	return b.submit(b.must("/login"), "/login", "token", token, "name", "sample")
}

func (r *rig) operator() *browser {
	r.t.Helper()
	b := r.browser()
	if p := b.login(operatorToken); p.status != http.StatusSeeOther {
		r.t.Fatalf("login: status %d: %s", p.status, p.text)
	}
	return b
}

// eventually gets a page until it has a text.
func (b *browser) eventually(path, want string) (text string) {
	b.t.Helper()
	servicetest.Eventually(b.t, path+" with "+want, func() bool {
		p := b.get(path)
		text = p.text
		return p.status == http.StatusOK && strings.Contains(text, want)
	})
	return text
}

// produce writes an event that states a position; its value is a canary.
func (r *rig) produce(n int) {
	r.t.Helper()
	value := fmt.Sprintf(`{"eventId":"ev-%d","sequence":%d,"employeeId":"E%d","openUserId":"FSUID_TEST%d","after":{"position":"needle-position"}}`, n, n+1, n, n)
	r.Broker.Produce(r.t, r.Topic, kafka.Message{Key: fmt.Appendf(nil, "E%d", n), Value: []byte(value)})
}

// audit returns "action subject result actor note" of the audit records.
func (r *rig) audit() (lines []string) {
	r.t.Helper()
	for _, m := range r.Broker.ReadAll(r.t, r.Topic+".audit") {
		a, err := dlq.ParseAudit(m.Value)
		if err != nil {
			r.t.Fatal(err)
		}
		lines = append(lines, strings.Join([]string{string(a.Action), a.Subject, a.Result, a.Actor, a.Note}, " "))
	}
	return lines
}
