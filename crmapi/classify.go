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

// maxRetryAfter is the longest wait that a server can ask for: a wrong header must not stop the
// service for days.
const maxRetryAfter = time.Hour

// classify returns the error for an HTTP status and an errorCode, with its class. It is the only
// function that decides the class of a response. It never sees errorMessage.
//
//   - The status 408, or a status of 500 or above, decides alone: whatever wrote the body, the call
//     may have been applied.
//   - For another 4xx, a known errorCode decides, because only the CRM itself writes one.
//   - A 2xx without an errorCode was written by something between this process and the CRM. The
//     call may or may not have reached the CRM.
func classify(table Table, status, code int, hasCode bool) Error {
	e := Error{Status: status, Code: code, HasCode: hasCode, Sent: true}
	row := Row{Class: ClassTransient, Reason: ReasonRejected} // for an unknown code
	if hasCode {
		if found, ok := table.Lookup(code); ok {
			row, e.Known = found, true
		}
	}
	switch {
	case status == http.StatusRequestTimeout || status >= 500:
		e.Class, e.OutcomeUnknown = ClassTransient, true
	case status >= 400 && (!hasCode || code == 0 || !e.Known && isSpecificStatus(status)):
		e.Class, e.Reason = classifyStatus(status)
	case status >= 300 && status < 400:
		e.Class = ClassRefused // the wrong host
	case status < 200 || !hasCode:
		e.Class, e.OutcomeUnknown, e.detail = ClassTransient, true, detailNotFromCRM
	default:
		e.Class, e.Reason, e.OutcomeUnknown = row.Class, row.Reason, row.OutcomeUnknown
	}
	return e
}

// isSpecificStatus reports whether a 4xx status is more specific than an unknown error code.
func isSpecificStatus(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return true
	}
	return false
}

// classifyStatus decides the class of a 4xx by its status alone. Most of them come from a proxy or
// a wrong path, so the operator must act. Nothing is dead-lettered for such a response while other
// members get the same one.
func classifyStatus(status int) (Class, Reason) {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return ClassPoison, ReasonRejected // not ReasonInvalid: the CRM did not find a parameter invalid
	case http.StatusTooManyRequests:
		return ClassThrottled, ""
	case http.StatusTooEarly:
		return ClassTransient, ""
	}
	return ClassRefused, ""
}

// needsBody reports whether the class of a status depends on the body.
func needsBody(status int) bool {
	switch {
	case status == http.StatusRequestTimeout, status >= 500:
		return false
	case status == http.StatusRequestEntityTooLarge, status == http.StatusTooManyRequests:
		return false
	}
	return status < 300 || status >= 400
}

// A responseBody is the JSON object in a response: its values by their names. It is nil if the body
// is not exactly one JSON object.
type responseBody map[string]jsontext.Value

// parseResponseBody is strict about names. encoding/json would accept "ErrorCode" as errorCode, and
// would take the last one of two errorCodes.
func parseResponseBody(body []byte) responseBody {
	var r responseBody
	if err := json.Unmarshal(body, &r, jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil
	}
	return r
}

// code returns errorCode, and whether there is one. It accepts an integer or its decimal text.
func (r responseBody) code() (int, bool) {
	text := r.text("errorCode")
	if v := r["errorCode"]; v.Kind() == '0' {
		text = string(v)
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// text returns the text with the given name, or "" if it is missing or not a text.
func (r responseBody) text(name string) string {
	var s string
	if v := r[name]; v.Kind() != '"' || json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// seconds returns a duration that is written as a whole number of seconds, or 0 if it is not.
func (r responseBody) seconds(name string) time.Duration {
	n, err := strconv.ParseInt(string(r[name]), 10, 64)
	if err != nil || n < 0 || n > int64(math.MaxInt64/time.Second) {
		return 0
	}
	return time.Duration(n) * time.Second
}

// traceID returns the CRM's traceId if it has the format of an ID, otherwise "". The result is
// written to logs and headers.
func (r responseBody) traceID() string {
	id := r.text("traceId")
	if len(id) > 128 || strings.ContainsFunc(id, isNotTraceIDRune) {
		return ""
	}
	return id
}

// isNotTraceIDRune reports whether a trace ID must not contain the character.
func isNotTraceIDRune(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return false
	}
	return !strings.ContainsRune("-_.:/+=", c)
}

// retryAfter returns the wait that a Retry-After header asks for, as seconds or as an HTTP date. It
// is at most maxRetryAfter, and 0 if there is no valid header.
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
