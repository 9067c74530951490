package crmapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
)

// canary is in every value and in every secret. It contains characters that are not allowed in an
// ID, so it is never accepted as a trace ID.
const canary = "CANARY @ 00000000001"

// canaryUpdate returns an update that has the canary in every text field.
func canaryUpdate() crmapi.Update {
	u := crmapi.Update{OpenUserID: member}
	for f := range crmapi.Field(crmapi.NumFields) {
		if f.Kind() == crmapi.KindText {
			u = u.With(f, crmapi.Text(canary))
		}
	}
	return u
}

// failingServers returns servers for every way in which a call can fail. Each one repeats what it
// was sent, where possible.
func failingServers() map[string]http.HandlerFunc {
	echo := func(status int, format string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			text, _ := json.Marshal(string(body))
			w.Header().Set("Retry-After", canary)
			w.Header().Set("Location", "http://crm.test/?"+r.URL.RawQuery)
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, format, text)
		}
	}
	all := map[string]http.HandlerFunc{
		"code":     echo(200, `{"errorCode":10001,"errorMessage":%[1]s,"errorDescription":%[1]s,"traceId":%[1]s}`),
		"token":    echo(200, `{"errorCode":20016,"errorMessage":%[1]s,"traceId":%[1]s}`),
		"unknown":  echo(200, `{"errorCode":777,"errorMessage":%[1]s,"traceId":%[1]s}`),
		"text":     echo(200, `{"errorCode":%s}`),
		"HTML":     echo(200, `<html>%s</html>`),
		"redirect": echo(302, `%s`),
		"400":      echo(400, `{"errorMessage":%s}`),
		"500":      echo(500, `%s`),
		"throttle": echo(429, `%s`),
	}
	for name, raw := range map[string]string{
		"bad status line": canary + "\r\n\r\n",
		"bad header":      "HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n",
		"bad status":      "HTTP/1.1 " + canary + "\r\n\r\n",
		"bad length":      "HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n",
		"bad encoding":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + canary + "\r\n\r\n",
		"bad chunk":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + canary + "\r\n",
		"nothing":         "",
	} {
		all[name] = func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, raw)
			_ = conn.Close()
		}
	}
	return all
}

// errorText returns everything that can be read from an error and its causes.
func errorText(t *testing.T, err error) string {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v\n%+v\n%#v\n%q\n", err, err, err, err)
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&b, nil), slog.NewTextHandler(&b, nil)} {
		slog.New(handler).LogAttrs(t.Context(), slog.LevelError, "test", slog.Any("error", err))
	}
	switch e := err.(type) { //nolint:errorlint // walks the tree of causes itself
	case interface{ Unwrap() error }:
		if cause := e.Unwrap(); cause != nil {
			b.WriteString(errorText(t, cause))
		}
	case interface{ Unwrap() []error }:
		for _, cause := range e.Unwrap() {
			b.WriteString(errorText(t, cause))
		}
	}
	return b.String()
}

// checkNoCanary reports an error if the text contains a part of the canary.
func checkNoCanary(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "CANARY") || strings.Contains(text, "00000000001") {
		t.Error(text)
	}
}

func TestNoValueOrSecretInErrorsOfUpdates(t *testing.T) {
	t.Parallel()
	for name, handler := range failingServers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClient(t, loopback(t, handler), func(c *crmapi.Config) {
				c.Token, c.CorpID = crmapi.FixedToken(canary), canary
			})
			_, err := client.Modify(t.Context(), crmapi.Call{Update: canaryUpdate()})
			if err == nil {
				t.Fatal("want an error")
			}
			checkNoCanary(t, errorText(t, err))
		})
	}
}

func TestNoSecretInErrorsOfTokens(t *testing.T) {
	t.Parallel()
	for name, handler := range failingServers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			source := newToken(t, crmapi.TokenConfig{
				BaseURL: loopback(t, handler), AppID: canary, AppSecret: canary, PermanentCode: canary,
				Log: slog.New(slog.NewJSONHandler(&log, nil)),
			})
			client := newClient(t, parseURL(t, "http://crm.test"), func(c *crmapi.Config) { c.Token = source })
			_, err := client.Modify(t.Context(), crmapi.Call{Update: canaryUpdate()})
			if err == nil {
				t.Fatal("want an error")
			}
			source.Close() // so that the log is complete
			checkNoCanary(t, errorText(t, err)+log.String())
			if !strings.Contains(log.String(), `"class":`) {
				t.Error("want a log line for the failed fetch")
			}
		})
	}
}

func TestNoSecretWhenPrinted(t *testing.T) {
	t.Parallel()
	base := parseURL(t, "http://crm.test")
	tokens := crmapi.TokenConfig{BaseURL: base, AppID: canary, AppSecret: canary, PermanentCode: canary}
	source := newToken(t, tokens)
	config := crmapi.Config{BaseURL: base, CorpID: corp, Token: crmapi.FixedToken(canary)}
	client := newClient(t, base, func(c *crmapi.Config) { *c = config })
	var b bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&b, nil))
	for _, v := range []any{tokens, &tokens, source, config, &config, client, crmapi.FixedToken(canary), crmapi.Call{Update: canaryUpdate()}} {
		fmt.Fprintf(&b, "%v %+v %#v %s\n", v, v, v, v)
		log.LogAttrs(t.Context(), slog.LevelInfo, "test", slog.Any("value", v))
	}
	checkNoCanary(t, b.String())
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := crmapitest.New(options())
		client := newClient(t, parseURL(t, "http://crm.test"), func(c *crmapi.Config) {
			c.HTTP, c.Timeout = inMemory(t, fake), time.Second
		})
		fake.Push(crmapitest.Fault{Code: 50009}, crmapitest.Fault{Status: 503}, crmapitest.Fault{Hang: true})
		for _, want := range []string{
			"crmapi: update: transient: HTTP 200, errorCode 50009, traceId fake-1, thirdTraceId ",
			"crmapi: update: transient: HTTP 503, traceId fake-2, thirdTraceId ",
			"crmapi: update: unacknowledged: no response, thirdTraceId ",
		} {
			_, err := client.Modify(t.Context(), crmapi.Call{Update: sample()})
			e, ok := errors.AsType[*crmapi.Error](err)
			if !ok || e.Error() != want+e.ThirdTraceID {
				t.Errorf("%v\nwant %s…", err, want)
			}
		}
	})
	if got := (&crmapi.Error{Class: crmapi.ClassQuota}).Error(); !strings.Contains(got, "quota") {
		t.Error(got)
	}
}
