package crmapi

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A decision is the part of an error that the consumer decides by.
type decision struct {
	Class   Class
	Reason  Reason
	Unknown bool // whether the outcome is unknown
}

func (e *Error) decision() decision { return decision{e.Class, e.Reason, e.OutcomeUnknown} }

// withoutCode returns the decision for a status without an errorCode.
func withoutCode(status int) decision {
	switch {
	case status == 408, status >= 500:
		return decision{ClassTransient, "", true}
	case status == 413:
		return decision{ClassPoison, ReasonRejected, false}
	case status == 425:
		return decision{ClassTransient, "", false}
	case status == 429:
		return decision{ClassThrottled, "", false}
	case status >= 300:
		return decision{ClassRefused, "", false}
	}
	return decision{ClassTransient, "", true}
}

func TestEveryStatus(t *testing.T) {
	t.Parallel()
	for status := 200; status < 600; status++ {
		check := func(code int, hasCode bool, want decision) {
			t.Helper()
			got := classify(nil, status, code, hasCode)
			if diff := cmp.Diff(want, got.decision()); diff != "" {
				t.Errorf("HTTP %d, code %d (%v): %s", status, code, hasCode, diff)
			}
			if got.Status != status || got.Code != code || got.HasCode != hasCode || !got.Sent {
				t.Errorf("HTTP %d, code %d (%v): %+v", status, code, hasCode, got)
			}
		}
		isRedirect := status >= 300 && status < 400
		fixed := isRedirect || status == 408 || status >= 500 // an errorCode does not change the decision
		specific := status == 401 || status == 403 || status == 413 || status == 429
		want := withoutCode(status)
		check(0, false, want)
		if status < 300 {
			check(0, true, decision{Class: ClassSuccess})
		} else {
			check(0, true, want) // errorCode 0 does not turn a failure into a success
		}
		known, unknown := decision{ClassPoison, ReasonInvalid, false}, decision{ClassTransient, ReasonRejected, false}
		if fixed {
			known, unknown = want, want
		}
		if specific {
			unknown = want
		}
		check(11001, true, known)
		check(99999, true, unknown)
	}
}

func TestStatusOutsideRange(t *testing.T) {
	t.Parallel()
	for _, status := range []int{100, 101, 199, 600, 999} {
		got := classify(nil, status, 0, true)
		if want := (decision{ClassTransient, "", true}); got.decision() != want {
			t.Errorf("HTTP %d: %+v", status, got)
		}
	}
}

func TestEveryCode(t *testing.T) {
	t.Parallel()
	for _, code := range Table(nil).Codes() {
		row, _ := lookupPublished(code)
		for _, status := range []int{200, 202, 400, 404, 422} {
			if code == 0 && status != 200 {
				continue
			}
			got := classify(nil, status, code, true)
			if want := (decision{row.Class, row.Reason, row.OutcomeUnknown}); got.decision() != want || !got.Known {
				t.Errorf("HTTP %d, code %d: %+v", status, code, got)
			}
		}
	}
}

func TestUnknownCode(t *testing.T) {
	t.Parallel()
	got := classify(nil, 200, 201112011, true)
	if got.Known || got.decision() != (decision{ClassTransient, ReasonRejected, false}) {
		t.Errorf("unknown code: %+v", got)
	}
	table := Table{201112011: {Class: ClassPoison, Reason: ReasonInvalid}}
	got = classify(table, 200, 201112011, true)
	if !got.Known || got.decision() != (decision{ClassPoison, ReasonInvalid, false}) {
		t.Errorf("code of an extra row: %+v", got)
	}
}

func TestResponseBodyCode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		body string
		code int
		ok   bool
	}{
		{`{"errorCode":0}`, 0, true},
		{`{"errorCode":-1,"traceId":7}`, -1, true},
		{`{"errorCode":"20016"}`, 20016, true},
		{`{"errorCode":0,"errorMessage":"\ud800 and ` + "\xff" + `"}`, 0, true},
		{`{"errorCode":0,"errorCode":10001}`, 0, false},
		{`{"ErrorCode":0}`, 0, false},
		{`{"errorCode":null}`, 0, false},
		{`{"errorCode":0.0}`, 0, false},
		{`{"errorCode":""}`, 0, false},
		{`{"errorCode":true}`, 0, false},
		{`{"errorCode":[0]}`, 0, false},
		{`{"errorCode":99999999999999999999}`, 0, false},
		{`{"errorCode":0}{}`, 0, false},
		{`{"errorCode":0`, 0, false},
		{`{"data":{"errorCode":0}}`, 0, false},
		{`[{"errorCode":0}]`, 0, false},
		{`0`, 0, false},
		{`null`, 0, false},
		{``, 0, false},
		{`<html>errorCode: 0</html>`, 0, false},
	} {
		code, ok := parseResponseBody([]byte(tt.body)).code()
		if ok != tt.ok || ok && code != tt.code {
			t.Errorf("%s: %d, %v", tt.body, code, ok)
		}
	}
}

func TestResponseBodyTraceID(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"traceId":"E-E.fake-0_1:2/3"}`:         "E-E.fake-0_1:2/3",
		`{"traceId":"Sample Person 001"}`:        "",
		`{"traceId":"a\nb"}`:                     "",
		`{"traceId":12}`:                         "",
		`{}`:                                     "",
		fmt.Sprintf(`{"traceId":"%0129d"}`, 1):   "",
		fmt.Sprintf(`{"traceId":"%0128d"}`, 1):   fmt.Sprintf("%0128d", 1),
		`{"traceId":"` + "\xc3\x28" + `"}`:       "",
		`{"traceId":"` + "\u540d\u5b57" + `"}`:   "",
		`{"traceId":"<script>alert</script>"}`:   "",
		`{"traceId":"x","errorMessage":"other"}`: "x",
	} {
		if got := parseResponseBody([]byte(body)).traceID(); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestResponseBodySeconds(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]time.Duration{
		`{"n":7200}`: 7200 * time.Second, `{"n":0}`: 0, `{"n":-5}`: 0, `{"n":"7200"}`: 0, `{}`: 0,
		`{"n":9223372036854775807}`: 0, `{"n":1.5}`: 0,
	} {
		if got := parseResponseBody([]byte(body)).seconds("n"); got != want {
			t.Errorf("%s: %v, want %v", body, got, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"7":                             7 * time.Second,
		" 120 ":                         2 * time.Minute,
		"3600":                          time.Hour,
		"3601":                          time.Hour,
		"99999999999999999999":          time.Hour,
		"-5":                            0,
		"1.5":                           0,
		"soon":                          0,
		"Sun, 22 Nov 2026 08:01:30 GMT": 90 * time.Second,
		"Sun, 22 Nov 2026 07:00:00 GMT": 0,
		"Mon, 23 Nov 2026 08:00:00 GMT": time.Hour,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func FuzzResponseBody(f *testing.F) {
	for _, body := range []string{`{"errorCode":0}`, `{"errorCode":"1","traceId":"x"}`, `[`, "\xff"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(_ *testing.T, body []byte) {
		r := parseResponseBody(body)
		_, _ = r.code()
		_, _ = r.traceID(), r.seconds("expiresIn")
	})
}
