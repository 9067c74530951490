package consumer_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
)

// A testCRM is the fake CRM. It creates members as they are called.
type testCRM struct {
	*crmapitest.Server
	t       *testing.T
	url     string
	timeout time.Duration // when a client gives up a call
}

func newTestCRM(t *testing.T, opts crmapitest.Options) *testCRM {
	t.Helper()
	opts.CorpID, opts.Tokens, opts.AutoCreate = corp, []string{"token"}, true
	fake := crmapitest.New(opts)
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	return &testCRM{Server: fake, t: t, url: server.URL, timeout: unending}
}

func (c *testCRM) client() *crmapi.Client {
	c.t.Helper()
	base, err := url.Parse(c.url)
	if err != nil {
		c.t.Fatal(err)
	}
	api, err := crmapi.New(crmapi.Config{
		BaseURL: base, Path: crmapitest.UpdatePath, CorpID: corp, Timeout: c.timeout,
		Token: crmapi.FixedToken("token"), MaxConns: 16,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return api
}

// field returns the value of a member's field in the CRM, as JSON; empty if it is not set.
func (c *testCRM) field(employee int, name string) string {
	return string(c.State(member(employee))[name])
}

func (c *testCRM) wantField(employee int, name, want string) {
	c.t.Helper()
	if got := c.field(employee, name); got != want {
		c.t.Errorf("member %d: %s = %s, want %s", employee, name, got, want)
	}
}

// callsOf returns the update requests of a member that the fake CRM has received.
func (c *testCRM) callsOf(employee int) []crmapitest.Seen {
	return slices.DeleteFunc(c.Calls(), func(s crmapitest.Seen) bool { return s.OpenUserID != member(employee) })
}

// wantCalls checks the number of update requests that the CRM has received.
func (c *testCRM) wantCalls(want int) {
	c.t.Helper()
	if got := len(c.Calls()); got != want {
		c.t.Errorf("%d calls, want %d", got, want)
	}
}

// refuse makes the CRM refuse the next calls for a member for good.
func (c *testCRM) refuse(m, times int) {
	c.Push(crmapitest.Fault{Member: member(m), Times: times, Code: 10001})
}

// userOf returns the fields of the update that a request carried. All of them must be texts.
func userOf(tb testing.TB, c crmapitest.Seen) map[string]string {
	tb.Helper()
	var user map[string]string
	if err := json.Unmarshal(c.User, &user); err != nil {
		tb.Fatal(err)
	}
	return user
}
