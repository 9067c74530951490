package deliver

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

	"membersync/consumer/event"
	"membersync/crmapi"
	"membersync/dlq"
)

// unknownCode is an errorCode that is in no table.
const unknownCode = 201112011

// An expectation is the part of a decision that the tables in CRM.md and DESIGN.md give.
type expectation struct {
	kind           event.Kind
	cause          event.Cause
	final          dlq.Reason
	unknownCode    bool
	outcomeUnknown bool
}

func (e expectation) String() string {
	return fmt.Sprintf("kind %d, cause %s, final %s, few attempts %v, outcome unknown %v",
		e.kind, e.cause, e.final, e.unknownCode, e.outcomeUnknown)
}

func transient() expectation {
	return expectation{kind: event.KindTransient, final: dlq.ReasonRetriesExhausted}
}

func refused() expectation {
	return expectation{kind: event.KindRefused, cause: event.CauseRefused, final: dlq.ReasonCRMRejected}
}

func poison(final dlq.Reason) expectation { return expectation{kind: event.KindPoison, final: final} }

func paused(cause event.Cause) expectation {
	return expectation{kind: event.KindPause, cause: cause, final: dlq.ReasonRetriesExhausted}
}

func unknown() expectation {
	return expectation{kind: event.KindTransient, final: dlq.ReasonCRMRejected, unknownCode: true}
}

func unacknowledged() expectation {
	e := transient()
	e.outcomeUnknown = true
	return e
}

// byCode returns the decision for an errorCode by CRM.md, section 3; false if the code is not in
// its table.
func byCode(code int) (expectation, bool) {
	switch {
	case code == -1, code == -2:
		return transient(), true
	case code == 50009:
		return unacknowledged(), true
	case code == 14001, code == 30004:
		return paused(event.CauseThrottled), true
	case code == 30002:
		return paused(event.CauseQuota), true
	case slices.Contains([]int{30003, 20006, 20015, 20017, 10006, 15003, 20014, 20020, 20021, 20022, 20023}, code):
		return refused(), true
	case code == 20016, code == 20005: // the token is fixed, so it cannot be renewed
		return refused(), true
	case code == 20012, code == 30027, code == 30007:
		return poison(dlq.ReasonCRMNotFound), true
	case code >= 10001 && code <= 10015, code >= 11001 && code <= 11018, code == 12004, code == 15002, code == 32000:
		return poison(dlq.ReasonCRMInvalid), true
	}
	return unknown(), false
}

// byStatus returns the decision for a 4xx that its status alone decides.
func byStatus(status int) expectation {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return poison(dlq.ReasonCRMRejected)
	case http.StatusTooManyRequests:
		return paused(event.CauseThrottled)
	case http.StatusTooEarly:
		return transient()
	}
	return refused()
}

// expected returns the decision for a response; false for a success. A nil code means that the
// response has none.
func expected(status int, code *int) (expectation, bool) {
	if status == http.StatusNoContent || code == nil && status < 300 {
		return unacknowledged(), true // not a response of the API
	}
	switch {
	case status == http.StatusRequestTimeout || status >= 500:
		return unacknowledged(), true // whatever the body says
	case status >= 300 && status < 400:
		return refused(), true
	case status < 300 && *code == 0:
		return expectation{}, false
	case status >= 400 && (code == nil || *code == 0):
		return byStatus(status), true
	}
	c, known := byCode(*code)
	if !known && slices.Contains([]int{401, 403, 413, 429}, status) {
		return byStatus(status), true
	}
	return c, true
}

// A responder is a CRM that responds with the status and code in the path: /status/code/. The code
// can be "none".
type responder struct{ message string }

func (a responder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
			panic(err) // impossible: only numbers and strings
		}
		_, _ = w.Write(text)
	}
}

// errorOf returns the error of a call to a responder; nil if it succeeds.
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

// checkDecision checks the decision about a response with this status and code; a nil code: none.
func checkDecision(t *testing.T, base string, status int, code *int) {
	t.Helper()
	name := fmt.Sprintf("HTTP %d without a code", status)
	if code != nil {
		name = fmt.Sprintf("HTTP %d with %d", status, *code)
	}
	err := errorOf(t, base, status, code)
	want, fails := expected(status, code)
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
	d := classify(t.Context(), err, now, func(time.Time) time.Time { return now.Add(20 * time.Minute) })
	got := expectation{d.Kind, d.Cause, d.Final, d.UnknownCode, d.OutcomeUnknown}
	if got != want {
		t.Errorf("%s:\n got %v\nwant %v", name, got, want)
	}
	if d.Err == nil || !d.Err.Sent {
		t.Errorf("%s: the decision has no error, or one that was not sent", name)
	}
	if quota := d.Cause == event.CauseQuota; quota != (d.Floor == 20*time.Minute) {
		t.Errorf("%s: floor %v", name, d.Floor)
	}
}

func TestEveryStatusAndCodeHasItsDecision(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(responder{message: "failed"})
	t.Cleanup(server.Close)
	t.Cleanup((&http.Client{}).CloseIdleConnections)
	for status := 200; status <= 599; status++ {
		checkDecision(t, server.URL, status, nil)
		for _, code := range []int{0, unknownCode, -1, 50009, 10001, 20012, 14001, 30002, 15003, 20016} {
			checkDecision(t, server.URL, status, &code)
		}
	}
	for _, code := range append(crmapi.Table{}.Codes(), unknownCode) {
		for _, status := range []int{200, 400, 403, 500} {
			checkDecision(t, server.URL, status, &code)
		}
	}
}

// The table above has the same codes as the client's.
func TestTheTablesHaveTheSameCodes(t *testing.T) {
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

func TestMessagesDoNotAffectTheDecision(t *testing.T) {
	t.Parallel()
	for _, message := range []string{"FAILED", "OK", "success", "token expired", ""} {
		server := httptest.NewServer(responder{message: message})
		t.Cleanup(server.Close)
		for _, code := range []int{0, -1, 10001, 14001, 20012, unknownCode} {
			checkDecision(t, server.URL, http.StatusOK, &code)
		}
	}
}

func TestDecisionsOnErrorsOfTheClient(t *testing.T) {
	t.Parallel()
	ended, end := context.WithCancelCause(t.Context())
	end(errSampleStop)
	never := func(now time.Time) time.Time { return now.Add(48 * time.Hour) }
	for name, c := range map[string]struct {
		ctx     context.Context //nolint:containedctx // a case of the table
		err     error
		want    event.Kind
		unknown bool
	}{
		"too late to send":            {t.Context(), &crmapi.Error{Class: crmapi.ClassTransient}, event.KindTransient, false},
		"too late, as returned":       {t.Context(), errors.Join(crmapi.ErrTooLate), event.KindNotSent, false},
		"stopping":                    {ended, &crmapi.Error{Class: crmapi.ClassUnacknowledged, OutcomeUnknown: true}, event.KindAbandon, false},
		"a response while stopping":   {ended, &crmapi.Error{Class: crmapi.ClassPoison}, event.KindAbandon, false},
		"a timeout":                   {t.Context(), &crmapi.Error{Class: crmapi.ClassUnacknowledged, OutcomeUnknown: true}, event.KindTransient, true},
		"the token cannot be renewed": {t.Context(), &crmapi.Error{Class: crmapi.ClassToken, HasCode: true, Known: true}, event.KindTransient, false},
		"an untyped error":            {t.Context(), errInternal, event.KindTransient, true},
		"an untyped deadline":         {t.Context(), context.DeadlineExceeded, event.KindTransient, true},
	} {
		d := classify(c.ctx, c.err, time.Now(), never)
		if d.Kind != c.want || d.OutcomeUnknown != c.unknown {
			t.Errorf("%s: kind %d, outcome unknown %v, want %d, %v", name, d.Kind, d.OutcomeUnknown, c.want, c.unknown)
		}
	}
}

var (
	errInternal   = errors.New("an error that the client does not promise")
	errSampleStop = errors.New("sample stop")
)

func TestAQuotaIsProbedHourly(t *testing.T) {
	t.Parallel()
	now := time.Now()
	d := classify(t.Context(), &crmapi.Error{Class: crmapi.ClassQuota}, now, func(time.Time) time.Time { return now.Add(9 * time.Hour) })
	if d.Floor != time.Hour {
		t.Errorf("the next probe is in %v, want an hour", d.Floor)
	}
}
