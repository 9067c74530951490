package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"membersync/consumer/gate"
	"membersync/crmapi"
	"membersync/dlq"
)

// unknownCode is in no table.
const unknownCode = 201112011

// A course is what judge decides, as far as the table in CRM.md and DESIGN.md says.
type course struct {
	kind  kind
	cause gate.Cause
	final dlq.Reason
	quick bool
	lost  bool
}

func (c course) String() string {
	return fmt.Sprintf("kind %d, cause %s, final %s, quick %v, lost %v", c.kind, c.cause, c.final, c.quick, c.lost)
}

func transient() course { return course{kind: kindTransient, final: dlq.ReasonRetriesExhausted} }
func operator() course {
	return course{kind: kindOperator, cause: gate.Operator, final: dlq.ReasonCRMRejected}
}
func poison(final dlq.Reason) course { return course{kind: kindPoison, final: final} }
func paused(cause gate.Cause) course {
	return course{kind: kindPause, cause: cause, final: dlq.ReasonRetriesExhausted}
}

func unknown() course {
	return course{kind: kindTransient, final: dlq.ReasonCRMRejected, quick: true}
}

func lost() course {
	c := transient()
	c.lost = true
	return c
}

// byCode is CRM.md, section 3; false for a code that is not in its table.
func byCode(code int) (course, bool) {
	switch {
	case code == -1, code == -2:
		return transient(), true
	case code == 50009:
		return lost(), true
	case code == 14001, code == 30004:
		return paused(gate.Throttled), true
	case code == 30002:
		return paused(gate.Quota), true
	case slices.Contains([]int{30003, 20006, 20015, 20017, 10006, 15003, 20014, 20020, 20021, 20022, 20023}, code):
		return operator(), true
	case code == 20016, code == 20005: // and the token is a fixed one, so that it cannot be renewed
		return operator(), true
	case code == 20012, code == 30027, code == 30007:
		return poison(dlq.ReasonCRMNotFound), true
	case code >= 10001 && code <= 10015, code >= 11001 && code <= 11018, code == 12004, code == 15002, code == 32000:
		return poison(dlq.ReasonCRMInvalid), true
	}
	return unknown(), false
}

// byStatus is what a 4xx says on its own.
func byStatus(status int) course {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return poison(dlq.ReasonCRMRejected)
	case http.StatusTooManyRequests:
		return paused(gate.Throttled)
	case http.StatusTooEarly:
		return transient()
	}
	return operator()
}

// courseOf is what is to be done about an answer; false where it is a success.
func courseOf(status int, code *int) (course, bool) {
	if status == http.StatusNoContent || code == nil && status < 300 {
		return lost(), true // nobody's answer
	}
	switch {
	case status == http.StatusRequestTimeout || status >= 500:
		return lost(), true // whatever the body says
	case status >= 300 && status < 400:
		return operator(), true
	case status < 300 && *code == 0:
		return course{}, false
	case status >= 400 && (code == nil || *code == 0):
		return byStatus(status), true
	}
	c, known := byCode(*code)
	if !known && slices.Contains([]int{401, 403, 413, 429}, status) {
		return byStatus(status), true
	}
	return c, true
}

// An answering CRM answers what the path says: /status/code, where the code may be none.
type answering struct{ message string }

func (a answering) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	var status, code int
	hasCode := true
	if _, err := fmt.Sscanf(r.URL.Path, "/%d/%d/", &status, &code); err != nil {
		hasCode = false
		_, _ = fmt.Sscanf(r.URL.Path, "/%d/", &status)
	}
	body := map[string]any{"traceId": "t", "errorMessage": a.message, "errorDescription": a.message}
	if hasCode {
		body["errorCode"] = code
	}
	w.WriteHeader(status)
	if status != http.StatusNoContent && status != http.StatusNotModified {
		text, err := json.Marshal(body)
		if err != nil {
			panic(err) // numbers and texts
		}
		_, _ = w.Write(text)
	}
}

func errorOf(t *testing.T, base string, status int, code *int) error {
	t.Helper()
	text := "none"
	if code != nil {
		text = strconv.Itoa(*code)
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	client, err := crmapi.New(crmapi.Config{
		BaseURL: u, Path: fmt.Sprintf("/%d/%s/", status, text), CorpID: "CORP_TEST", Token: crmapi.FixedToken("t"),
		HTTP: &http.Client{},
	})
	if err != nil {
		t.Fatal(err)
	}
	update := crmapi.Update{OpenUserID: "FSUID_TEST0001"}.With(crmapi.Position, crmapi.Text("x"))
	_, err = client.Modify(t.Context(), crmapi.Call{Update: update})
	return err
}

func checkCourse(t *testing.T, base string, status int, code *int) {
	t.Helper()
	name := fmt.Sprintf("HTTP %d without a code", status)
	if code != nil {
		name = fmt.Sprintf("HTTP %d with %d", status, *code)
	}
	err := errorOf(t, base, status, code)
	want, fails := courseOf(status, code)
	if !fails {
		if err != nil {
			t.Errorf("%s: %v, want a success", name, err)
		}
		return
	}
	if err == nil {
		t.Errorf("%s is a success, want %v", name, want)
		return
	}
	now := time.Now()
	j := judge(t.Context(), err, now, func(time.Time) time.Time { return now.Add(20 * time.Minute) })
	got := course{j.kind, j.cause, j.final, j.quick, j.lost}
	if got != want {
		t.Errorf("%s:\n got %v\nwant %v", name, got, want)
	}
	if j.err == nil || !j.err.Sent {
		t.Errorf("%s: no error kept, or one that was not sent", name)
	}
	if quota := j.cause == gate.Quota; quota != (j.floor == 20*time.Minute) {
		t.Errorf("%s: floor %v", name, j.floor)
	}
}

func TestEveryStatusAndCode(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(answering{message: "failed"})
	t.Cleanup(server.Close)
	t.Cleanup((&http.Client{}).CloseIdleConnections)
	for status := 200; status <= 599; status++ {
		checkCourse(t, server.URL, status, nil)
		for _, code := range []int{0, unknownCode, -1, 50009, 10001, 20012, 14001, 30002, 15003, 20016} {
			checkCourse(t, server.URL, status, &code)
		}
	}
	for _, code := range append(crmapi.Table{}.Codes(), unknownCode) {
		for _, status := range []int{200, 400, 403, 500} {
			checkCourse(t, server.URL, status, &code)
		}
	}
}

// The table above knows each code of the client's, and no other.
func TestTheTablesAgree(t *testing.T) {
	t.Parallel()
	for _, code := range (crmapi.Table{}).Codes() {
		if _, known := byCode(code); !known && code != 0 {
			t.Errorf("%d is not in CRM.md", code)
		}
	}
	for code := -10; code < 60000; code++ {
		_, ours := byCode(code)
		if _, theirs := (crmapi.Table{}).Lookup(code); ours && !theirs {
			t.Errorf("%d is not in the client's table", code)
		}
	}
}

func TestMessagesDecideNothing(t *testing.T) {
	t.Parallel()
	for _, message := range []string{"FAILED", "OK", "success", "token expired", ""} {
		server := httptest.NewServer(answering{message: message})
		t.Cleanup(server.Close)
		for _, code := range []int{0, -1, 10001, 14001, 20012, unknownCode} {
			checkCourse(t, server.URL, http.StatusOK, &code)
		}
	}
}

func TestErrorsOfOurOwn(t *testing.T) {
	t.Parallel()
	ended, end := context.WithCancelCause(t.Context())
	end(errStopped)
	never := func(now time.Time) time.Time { return now.Add(48 * time.Hour) }
	for name, c := range map[string]struct {
		ctx  context.Context //nolint:containedctx // a case of the table
		err  error
		want kind
		lost bool
	}{
		"too late to send":             {t.Context(), &crmapi.Error{Class: crmapi.ClassTransient}, kindTransient, false},
		"too late, as it comes":        {t.Context(), errors.Join(crmapi.ErrTooLate), kindNotSent, false},
		"stopping":                     {ended, &crmapi.Error{Class: crmapi.ClassUnacknowledged, OutcomeUnknown: true}, kindAbandon, false},
		"an answer while stopping":     {ended, &crmapi.Error{Class: crmapi.ClassPoison}, kindAbandon, false},
		"a timeout":                    {t.Context(), &crmapi.Error{Class: crmapi.ClassUnacknowledged, OutcomeUnknown: true}, kindTransient, true},
		"the token cannot be renewed":  {t.Context(), &crmapi.Error{Class: crmapi.ClassToken, HasCode: true, Known: true}, kindTransient, false},
		"an error that nobody made":    {t.Context(), errInternal, kindTransient, true},
		"a deadline that nobody typed": {t.Context(), context.DeadlineExceeded, kindTransient, true},
	} {
		j := judge(c.ctx, c.err, time.Now(), never)
		if j.kind != c.want || j.lost != c.lost {
			t.Errorf("%s: kind %d, lost %v, want %d, %v", name, j.kind, j.lost, c.want, c.lost)
		}
	}
}

var errInternal = errors.New("an error that the client does not promise")

func TestAQuotaIsProbedHourly(t *testing.T) {
	t.Parallel()
	now := time.Now()
	j := judge(t.Context(), &crmapi.Error{Class: crmapi.ClassQuota}, now, func(time.Time) time.Time { return now.Add(9 * time.Hour) })
	if j.floor != time.Hour {
		t.Errorf("the next probe is in %v, want an hour", j.floor)
	}
}
