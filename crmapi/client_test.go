package crmapi_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
)

// modify makes one call and returns its error as the *crmapi.Error that it must be.
func modify(t *testing.T, c *crmapi.Client, call crmapi.Call) (crmapi.Response, *crmapi.Error) {
	t.Helper()
	response, err := c.Modify(t.Context(), call)
	if err == nil {
		return response, nil
	}
	e, ok := errors.AsType[*crmapi.Error](err)
	if !ok {
		t.Fatalf("Modify: %T %v", err, err)
	}
	return response, e
}

func TestModifySendsTheSparseUpdate(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	client := newClient(t, loopback(t, fake))
	update := crmapi.Update{OpenUserID: member}.With(crmapi.Email, crmapi.Text("")).
		With(crmapi.AttachingDepartmentIDs, crmapi.Ints(nil)).With(crmapi.BirthDate, crmapi.Text("-86400000"))
	response, failed := modify(t, client, crmapi.Call{Update: update})
	if failed != nil {
		t.Fatal(failed)
	}
	want := map[string]json.RawMessage{
		"email": json.RawMessage(`""`), "attachingDepartmentIds": json.RawMessage(`[]`),
		"birthDate": json.RawMessage(`"-86400000"`),
	}
	if diff := cmp.Diff(want, fake.State(member)); diff != "" {
		t.Error(diff)
	}
	calls := fake.Calls()
	if len(calls) != 1 || calls[0].TraceID != response.TraceID || calls[0].ThirdTraceID != response.ThirdTraceID ||
		response.Duration <= 0 || string(calls[0].User) != string(update.AppendJSON(nil)) {
		t.Errorf("response %+v, calls %+v", response, calls)
	}
}

func TestRequestLine(t *testing.T) {
	t.Parallel()
	var got atomic.Pointer[http.Request]
	var body atomic.Value
	base := loopback(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b map[string]json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&b)
		got.Store(r)
		body.Store(b)
		_, _ = w.Write([]byte(`{"errorCode":0}`))
	}))
	client := newClient(t, base.JoinPath("/prefix/"), func(c *crmapi.Config) { c.Path = "/cgi/user/update" })
	if _, failed := modify(t, client, crmapi.Call{Update: sample()}); failed != nil {
		t.Fatal(failed)
	}
	r := got.Load()
	if r.Method != http.MethodPost || r.URL.Path != "/prefix/cgi/user/update" ||
		r.Header.Get("Content-Type") != "application/json" || len(r.URL.Query()) != 1 || r.ContentLength <= 0 {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
	want := map[string]json.RawMessage{
		"corpAccessToken": json.RawMessage(`"TOKEN_TEST"`), "corpId": json.RawMessage(`"CORP_TEST"`),
		"user": json.RawMessage(`{"openUserId":"FSUID_TEST0001","position":"Sample Position"}`),
	}
	if diff := cmp.Diff(want, body.Load()); diff != "" {
		t.Error(diff)
	}
}

func TestThirdTraceIDIsNewForEachAttempt(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options()) // it rejects a thirdTraceId that it has seen before
	client := newClient(t, loopback(t, fake))
	for range 20 {
		if _, failed := modify(t, client, crmapi.Call{Update: sample()}); failed != nil {
			t.Fatal(failed)
		}
	}
	if v := fake.Violations(); len(v) > 0 {
		t.Error(v)
	}
}

// TestEveryCodeThroughTheClient makes the fake respond with each code of the table, and with two
// unknown codes.
func TestEveryCodeThroughTheClient(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	client := newClient(t, loopback(t, fake))
	rows := published()
	delete(rows, 0)
	rows[201112011] = crmapi.Row{Class: crmapi.ClassTransient, Reason: crmapi.ReasonRejected}
	rows[-7] = rows[201112011]
	for code, row := range rows {
		if row.Class == crmapi.ClassToken {
			row.Class = crmapi.ClassRefused // the token is fixed
		}
		fake.Push(crmapitest.Fault{Code: code, Message: "OK"})
		_, got := modify(t, client, crmapi.Call{Update: sample()})
		if got == nil {
			t.Fatalf("code %d with errorMessage OK: no error", code)
		}
		known := code != 201112011 && code != -7
		if got.Class != row.Class || got.Reason != row.Reason || got.OutcomeUnknown != row.OutcomeUnknown ||
			got.Code != code || !got.HasCode || got.Known != known || !got.Sent || got.Status != 200 ||
			got.TraceID == "" || got.ThirdTraceID == "" || got.Duration <= 0 {
			t.Errorf("code %d: %+v", code, got)
		}
		if want := code == 20012 || code == 30027; got.MemberNotFound() != want {
			t.Errorf("code %d: MemberNotFound %v", code, got.MemberNotFound())
		}
	}
}

// TestEveryStatusThroughTheClient covers what the table test of classify cannot: that net/http
// passes the status on, and that no redirect is followed.
func TestEveryStatusThroughTheClient(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	client := newClient(t, loopback(t, fake))
	for status := 200; status < 600; status++ {
		fake.Push(crmapitest.Fault{
			Status: status, Body: "<html>OK</html>", Header: map[string]string{"Location": "/elsewhere"},
		})
		_, got := modify(t, client, crmapi.Call{Update: sample()})
		if got == nil {
			t.Fatalf("HTTP %d without an errorCode: no error", status)
		}
		want := crmapi.ClassTransient
		switch {
		case status == 413:
			want = crmapi.ClassPoison
		case status == 429:
			want = crmapi.ClassThrottled
		case status >= 300 && status < 500 && status != 408 && status != 425:
			want = crmapi.ClassRefused
		}
		if got.Class != want || got.Status != status || got.HasCode || !got.Sent {
			t.Errorf("HTTP %d: %+v", status, got)
		}
		if unknown := status < 300 || status == 408 || status >= 500; got.OutcomeUnknown != unknown {
			t.Errorf("HTTP %d: OutcomeUnknown %v", status, got.OutcomeUnknown)
		}
	}
}

func TestErrorMessageIsIgnored(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	client := newClient(t, loopback(t, fake))
	for _, message := range []string{"FAILED", "20016", `{"errorCode":10001}`, "token expired"} {
		fake.Push(crmapitest.Fault{Message: message})
		if _, failed := modify(t, client, crmapi.Call{Update: sample()}); failed != nil {
			t.Errorf("errorCode 0 with errorMessage %q: %v", message, failed)
		}
	}
	for _, message := range []string{"OK", "success", `{"errorCode":0}`, ""} {
		fake.Push(crmapitest.Fault{Code: 30007, Message: message})
		if _, failed := modify(t, client, crmapi.Call{Update: sample()}); failed == nil || failed.Class != crmapi.ClassPoison {
			t.Errorf("errorCode 30007 with errorMessage %q: %v", message, failed)
		}
	}
}

func TestResponsesNotFromTheCRM(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	client := newClient(t, loopback(t, fake))
	for name, body := range map[string]string{
		"HTML":              "<html>maintenance</html>",
		"no errorCode":      `{"status":"ok"}`,
		"two errorCodes":    `{"errorCode":0,"errorCode":1}`,
		"other case":        `{"errorcode":0}`,
		"trailing bytes":    `{"errorCode":0} 1`,
		"longer than 64KiB": `{"errorCode":0,"errorMessage":"` + strings.Repeat("x", 64<<10) + `"}`,
	} {
		fake.Push(crmapitest.Fault{Body: body, At: crmapitest.AfterEffect})
		_, got := modify(t, client, crmapi.Call{Update: sample()})
		if got == nil || got.Class != crmapi.ClassTransient || !got.OutcomeUnknown || got.HasCode || got.Status != 200 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A proxy may compress a response without being asked to, or begin it with a byte order mark. It is
// still the CRM's.
func TestResponsesThatAProxyHasWrapped(t *testing.T) {
	t.Parallel()
	zipped := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, text)
		_ = w.Close()
		return b.String()
	}
	const bom, success, refused = "\ufeff", `{"errorCode":0,"traceId":"t-1"}`, `{"errorCode":30007,"traceId":"t-1"}`
	fake := crmapitest.New(options())
	client := newClient(t, loopback(t, fake))
	for name, tc := range map[string]struct {
		body string
		want crmapi.Class
	}{
		"a byte order mark":                {bom + success, crmapi.ClassSuccess},
		"gzip":                             {zipped(success), crmapi.ClassSuccess},
		"gzip of a byte order mark":        {zipped(bom + success), crmapi.ClassSuccess},
		"a refusal after a mark":           {bom + refused, crmapi.ClassPoison},
		"a refusal in gzip":                {zipped(refused), crmapi.ClassPoison},
		"a mark in the middle":             {success + bom, crmapi.ClassTransient},
		"gzip that is cut short":           {zipped(success)[:20], crmapi.ClassTransient},
		"gzip that inflates to 1 MiB":      {zipped(success + strings.Repeat(" ", 1<<20)), crmapi.ClassTransient},
		"gzip of something that is no API": {zipped("<html>maintenance</html>"), crmapi.ClassTransient},
	} {
		fake.Push(crmapitest.Fault{Body: tc.body, At: crmapitest.AfterEffect})
		_, failed := modify(t, client, crmapi.Call{Update: sample()})
		got := crmapi.ClassSuccess
		if failed != nil {
			got = failed.Class
		}
		if got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// A probe modifies nothing, and tells the API from what else may respond.
func TestProbe(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault crmapitest.Fault
		want  error
	}{
		"the API":               {crmapitest.Fault{}, nil},
		"the API, overloaded":   {crmapitest.Fault{Code: 30004}, nil},
		"HTML":                  {crmapitest.Fault{Body: "<html>welcome</html>"}, crmapi.ErrNotAPI},
		"an empty response":     {crmapitest.Fault{Body: " "}, crmapi.ErrNotAPI},
		"a wrong path":          {crmapitest.Fault{Status: 404, Body: "not found"}, crmapi.ErrNotAPI},
		"a redirect":            {crmapitest.Fault{Status: 302, Body: " "}, crmapi.ErrNotAPI},
		"a proxy without CRM":   {crmapitest.Fault{Status: 502, Body: "bad gateway"}, crmapi.ErrNotAPI},
		"another service's 401": {crmapitest.Fault{Status: 401, Body: `{"error":"unauthorized"}`}, crmapi.ErrNotAPI},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := crmapitest.New(options())
			if tc.want != nil || tc.fault.Code != 0 {
				fake.Push(tc.fault)
			}
			before := fake.Snapshot()
			err := newClient(t, loopback(t, fake)).Probe(t.Context())
			if !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			if diff := cmp.Diff(before, fake.Snapshot()); diff != "" {
				t.Errorf("members (-before +after):\n%s", diff)
			}
			if tc.fault.Status != 0 && !strings.Contains(err.Error(), strconv.Itoa(tc.fault.Status)) {
				t.Errorf("%v does not name the status", err)
			}
		})
	}
}

func TestRetryAfterHeader(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	client := newClient(t, loopback(t, fake))
	for _, f := range []crmapitest.Fault{{Status: 429}, {Status: 503}, {Code: 14001}} {
		f.Header = map[string]string{"Retry-After": "17"}
		fake.Push(f)
		if _, got := modify(t, client, crmapi.Call{Update: sample()}); got == nil || got.RetryAfter != 17*time.Second {
			t.Errorf("%+v: %+v", f, got)
		}
	}
}

func TestExtraRows(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	fake.SetMember("FSUID_TEST0002", map[string]json.RawMessage{"mobile": json.RawMessage(`"00000000001"`)})
	base := loopback(t, fake)
	call := crmapi.Call{Update: sample().With(crmapi.Mobile, crmapi.Text("00000000001"))}
	if _, got := modify(t, newClient(t, base), call); got == nil || got.Class != crmapi.ClassTransient || got.Known {
		t.Errorf("without the row: %+v", got)
	}
	client := newClient(t, base, func(c *crmapi.Config) {
		c.Codes = crmapi.Table{201112011: {Class: crmapi.ClassPoison, Reason: crmapi.ReasonInvalid}}
	})
	if _, got := modify(t, client, call); got == nil || got.Class != crmapi.ClassPoison || !got.Known {
		t.Errorf("with the row: %+v", got)
	}
}

func TestEmptyUpdateMakesNoCall(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	client := newClient(t, loopback(t, fake))
	for _, u := range []crmapi.Update{{}, {OpenUserID: member}, crmapi.Update{}.With(crmapi.QQ, crmapi.Text("1"))} {
		if _, err := client.Modify(t.Context(), crmapi.Call{Update: u}); !errors.Is(err, crmapi.ErrEmptyUpdate) {
			t.Errorf("%v: %v", u, err)
		}
	}
	if len(fake.Log()) > 0 {
		t.Error("a call was made")
	}
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(fake)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	client := newClient(t, parseURL(t, server.URL))
	fake.Push(crmapitest.Fault{Status: 500, Body: strings.Repeat("x", 60<<10)}, crmapitest.Fault{Code: 14001})
	for range 10 {
		_, _ = client.Modify(t.Context(), crmapi.Call{Update: sample()})
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections for 10 calls", n)
	}
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := crmapitest.New(options())
		client := newClient(t, parseURL(t, "http://crm.test"), func(c *crmapi.Config) {
			c.HTTP, c.Timeout = inMemory(t, fake), time.Minute
		})
		cause := errors.New("generation ended")
		fake.Push(crmapitest.Fault{Hang: true, Times: 2})
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		_, err := client.Modify(ctx, crmapi.Call{Update: sample()})
		e, _ := errors.AsType[*crmapi.Error](err)
		if e == nil || e.Class != crmapi.ClassUnacknowledged || !errors.Is(err, cause) || !errors.Is(err, context.Canceled) ||
			errors.Is(err, crmapi.ErrTimeout) {
			t.Errorf("canceled in flight: %v", err)
		}
		_, err = client.Modify(ctx, crmapi.Call{Update: sample()})
		e, _ = errors.AsType[*crmapi.Error](err)
		if e == nil || e.Class != crmapi.ClassTransient || e.Sent || !errors.Is(err, cause) {
			t.Errorf("canceled before: %v", err)
		}
		began := time.Now()
		_, err = client.Modify(t.Context(), crmapi.Call{Update: sample()})
		e, _ = errors.AsType[*crmapi.Error](err)
		if e == nil || e.Class != crmapi.ClassUnacknowledged || !errors.Is(err, crmapi.ErrTimeout) || errors.Is(err, cause) ||
			!errors.Is(err, context.DeadlineExceeded) || !e.OutcomeUnknown || time.Since(began) != time.Minute {
			t.Errorf("timed out: %v after %v", err, time.Since(began))
		}
	})
}

func TestConfigReportsAllFaults(t *testing.T) {
	t.Parallel()
	_, err := crmapi.New(crmapi.Config{Path: "x", Timeout: -1})
	for _, want := range []string{"BaseURL", "CorpID", "Path", "Token", "Timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in the error: %v", want, err)
		}
	}
	for _, text := range []string{
		"ftp://crm.test", "//crm.test", "http://", "http://user:CANARY@crm.test", "http://crm.test?x=1", "http:crm", "http://crm.test#x",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = crmapi.New(crmapi.Config{BaseURL: u, CorpID: corp, Token: crmapi.FixedToken(token)})
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("base URL %s: %v", text, err)
		}
	}
}

// What Inject adds is in the request of an update, next to the client's own headers.
func TestInject(t *testing.T) {
	t.Parallel()
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		_, _ = io.WriteString(w, `{"errorCode":0}`)
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	type key struct{}
	client, err := crmapi.New(crmapi.Config{
		BaseURL: base, CorpID: "CORP_TEST", Token: crmapi.FixedToken("token"),
		Inject: func(ctx context.Context, h http.Header) {
			text, _ := ctx.Value(key{}).(string)
			h.Set("Traceparent", text)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	u := crmapi.Update{OpenUserID: "FSUID_TEST0001"}.With(crmapi.Name, crmapi.Text("Sample Person"))
	if _, err := client.Modify(context.WithValue(t.Context(), key{}, "00-1"), crmapi.Call{Update: u}); err != nil {
		t.Fatal(err)
	}
	if got.Get("Traceparent") != "00-1" || got.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", got)
	}
}
