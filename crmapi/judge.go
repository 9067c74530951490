package crmapi

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxRetryAfter bounds what a server may ask for: a wrong header must not stop the service for days.
const maxRetryAfter = time.Hour

// judge turns an HTTP status and an errorCode into an error's class. It is the only place that does, and
// it never sees errorMessage.
//
// A status of 408 or from 500 up decides alone: whatever wrote the body, the call may have been applied.
// Of a 4xx a known errorCode decides, since only the CRM itself writes one. A 2xx without an errorCode was
// written by something between here and the CRM, which may or may not have been reached.
func judge(table Table, status, code int, hasCode bool) Error {
	e := Error{Status: status, Code: code, HasCode: hasCode, Sent: true}
	row := Row{Class: ClassTransient, Reason: ReasonRejected} // an unknown code
	if hasCode {
		if found, ok := table.Lookup(code); ok {
			row, e.Known = found, true
		}
	}
	switch {
	case status == http.StatusRequestTimeout || status >= 500:
		e.Class, e.OutcomeUnknown = ClassTransient, true
	case status >= 400 && (!hasCode || code == 0 || !e.Known && speaksForItself(status)):
		e.Class, e.Reason = judgeStatus(status)
	case status >= 300 && status < 400:
		e.Class = ClassRefused // a wrong host
	case status < 200 || !hasCode:
		e.Class, e.OutcomeUnknown, e.what = ClassTransient, true, whatForeign
	default:
		e.Class, e.Reason, e.OutcomeUnknown = row.Class, row.Reason, row.OutcomeUnknown
	}
	return e
}

// speaksForItself reports whether a 4xx says more than an error code that nobody knows.
func speaksForItself(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return true
	}
	return false
}

// judgeStatus judges a 4xx by the status alone. Most come from a proxy or a wrong path, so somebody has
// to look; nothing is dead-lettered for that while other members get the same.
func judgeStatus(status int) (Class, Reason) {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return ClassPoison, ReasonRejected // not a parameter that the CRM found invalid
	case http.StatusTooManyRequests:
		return ClassThrottled, ""
	case http.StatusTooEarly:
		return ClassTransient, ""
	}
	return ClassRefused, ""
}

// needsBody reports whether the class of a status hangs on the body.
func needsBody(status int) bool {
	switch {
	case status == http.StatusRequestTimeout, status >= 500:
		return false
	case status == http.StatusRequestEntityTooLarge, status == http.StatusTooManyRequests:
		return false
	}
	return status < 300 || status >= 400
}

// A reply is the body of an answer, member by member. It is empty if the body is not one JSON object.
type reply map[string]jsontext.Value

// parseReply is strict about names: encoding/json would take "ErrorCode" or the last of two for errorCode.
func parseReply(body []byte) reply {
	var r reply
	if err := json.Unmarshal(body, &r, jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil
	}
	return r
}

// code returns errorCode, an integer or its decimal text.
func (r reply) code() (int, bool) {
	text := r.text("errorCode")
	if v := r["errorCode"]; v.Kind() == '0' {
		text = string(v)
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

func (r reply) text(name string) string {
	var s string
	if v := r[name]; v.Kind() != '"' || json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// seconds returns a whole number of seconds.
func (r reply) seconds(name string) time.Duration {
	n, err := strconv.ParseInt(string(r[name]), 10, 64)
	if err != nil || n < 0 || n > int64(math.MaxInt64/time.Second) {
		return 0
	}
	return time.Duration(n) * time.Second
}

// traceID returns the CRM's traceId, if it looks like an id: it goes to logs and headers.
func (r reply) traceID() string {
	id := r.text("traceId")
	if len(id) > 128 || strings.ContainsFunc(id, notOfID) {
		return ""
	}
	return id
}

func notOfID(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return false
	}
	return !strings.ContainsRune("-_.:/+=", c)
}

// retryAfter reads a Retry-After header: seconds or an HTTP date, at most an hour.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
