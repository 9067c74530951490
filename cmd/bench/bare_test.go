package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// bodies returns one request body for each of n members.
func bodies(n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = fmt.Appendf(nil, `{"corpAccessToken":%q,"corpId":%q,"user":{"openUserId":%q,"position":%q}}`,
			testbed.Token, testbed.CorpID, testbed.OpenUserID(i+1), position(i))
	}
	return all
}

func TestBareProcessSendsEveryBodyOnce(t *testing.T) {
	t.Parallel()
	const calls = 500
	crm, err := startCRM(t.Context(), crmapitest.Options{}, calls)
	if err != nil {
		t.Fatal(err)
	}
	cpu, err := startBare(t.Context(), crm.URL()+crmapitest.UpdatePath, 8, bodies(calls))
	if err := errors.Join(err, crm.Close()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(crm.verify(calls), newest(crm, calls, calls)); err != nil {
		t.Error(err)
	}
	if cpu <= 0 || crm.rate() <= 0 {
		t.Errorf("CPU time %v, rate %v", cpu, crm.rate())
	}
}

func TestBareProcessFails(t *testing.T) {
	t.Parallel()
	crm, err := startCRM(t.Context(), crmapitest.Options{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = startBare(t.Context(), crm.URL()+crmapitest.UpdatePath, 2, [][]byte{[]byte(`{}`)})
	if closed := crm.Close(); closed != nil {
		t.Fatal(closed)
	}
	if err == nil {
		t.Error("the CRM refused the call, and no error was returned")
	}
}

func TestBareChecksAnswers(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"code":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"errorCode":-1}`)) },
		"no code": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) },
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`<html>`)) },
		"status": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte(`{"errorCode":0}`))
		},
		"closed": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(handler)
			defer server.Close()
			if err := newBare(server.URL, 1).post(t.Context(), bodies(3), 1); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestBareKeepsItsConnections(t *testing.T) {
	t.Parallel()
	var conns atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"errorCode":0}`))
	}))
	server.Config.ConnState = countNew(&conns)
	server.Start()
	defer server.Close()
	if err := newBare(server.URL, 4).post(t.Context(), bodies(200), 4); err != nil {
		t.Fatal(err)
	}
	if n := conns.Load(); n > 8 { // two connections may be dialed for one call
		t.Errorf("%d connections for 4 calls in flight", n)
	}
}
