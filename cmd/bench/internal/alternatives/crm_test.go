package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

const sample = `{"eventId":"E1-1","sequence":1,"employeeId":"E1","openUserId":"FSUID_1",` +
	`"before":{"position":"a","mobile":"1"},"after":{"position":"b","mobile":"1","mainDepartmentId":7}}`

func TestUpdatePostsWhatChanged(t *testing.T) {
	t.Parallel()
	var got, path string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got, path = string(body), r.URL.Path
		_, _ = io.WriteString(w, `{"errorCode":0}`)
	}))
	defer server.Close()
	e, err := decode([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	if err := newCRM(settings{crmURL: server.URL, corpID: "C", token: "T"}).update(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	const want = `{"corpAccessToken":"T","corpId":"C","user":{"mainDepartmentId":7,"openUserId":"FSUID_1","position":"b"}}`
	if got != want || path != updatePath {
		t.Errorf("%s\n%s", path, got)
	}
}

func TestUpdateChecksTheResponse(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"errorCode":-1}`, `{}`, `<html>`, ``} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
		if err := newCRM(settings{crmURL: server.URL}).update(t.Context(), event{}); err == nil {
			t.Errorf("%q: no error", text)
		}
		server.Close()
	}
}

func TestUpdateKeepsItsConnection(t *testing.T) {
	t.Parallel()
	var conns atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"errorCode":0}`)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	crm := newCRM(settings{crmURL: server.URL})
	for range 20 {
		if err := crm.update(t.Context(), event{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections for one call at a time", n)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, text := range []string{``, `[]`, `{"openUserId":"F"}`, `{"eventId":"E"}`} {
		if _, err := decode([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
