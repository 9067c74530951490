package crmapitest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"membersync/crmapi/crmapitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const member = "FSUID_TEST0001"

func options() crmapitest.Options {
	return crmapitest.Options{
		CorpID: "CORP_TEST", Tokens: []string{"TOKEN_TEST"}, Members: []string{member},
		AppID: "APP_TEST", AppSecret: "SECRET_TEST", PermanentCode: "CODE_TEST", Departments: []int64{1, 2, 1000},
	}
}

// A caller sends raw requests to a fake on a real socket.
type caller struct {
	fake   *crmapitest.Server
	url    string
	client *http.Client
	traces *atomic.Int64
}

func newCaller(t *testing.T, opts crmapitest.Options) caller {
	t.Helper()
	fake := crmapitest.New(opts)
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return caller{fake: fake, url: server.URL, client: client, traces: new(atomic.Int64)}
}

// send makes a request and returns the status and the body.
func (c caller) send(t *testing.T, method, path, contentType, body string) (int, string) {
	t.Helper()
	status, text, err := c.try(t, method, path, contentType, body)
	if err != nil {
		t.Fatal(err)
	}
	return status, text
}

func (c caller) try(t *testing.T, method, path, contentType, body string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// newPath returns the path of the update API with a new thirdTraceId.
func (c caller) newPath() string {
	return fmt.Sprintf("%s?thirdTraceId=trace-%d", crmapitest.UpdatePath, c.traces.Add(1))
}

// postBody posts a complete body to the update API and returns the errorCode.
func (c caller) postBody(t *testing.T, body string) int {
	t.Helper()
	status, text := c.send(t, http.MethodPost, c.newPath(), "application/json", body)
	if status != http.StatusOK {
		t.Fatalf("HTTP %d: %s", status, text)
	}
	return code(t, text)
}

// update sends a user object with a valid token and company, and returns the errorCode.
func (c caller) update(t *testing.T, user string) int {
	t.Helper()
	return c.postBody(t, `{"corpAccessToken":"TOKEN_TEST","corpId":"CORP_TEST","user":`+user+`}`)
}

func code(t *testing.T, text string) int {
	t.Helper()
	var resp struct {
		Code *int `json:"errorCode"`
	}
	if err := json.NewDecoder(bytes.NewBufferString(text)).Decode(&resp); err != nil || resp.Code == nil {
		t.Fatalf("%s: %v", text, errors.Join(err))
	}
	return *resp.Code
}
