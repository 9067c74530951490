package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"membersync/crmapi/crmapitest"
)

const (
	systemBusy   = -1 // the errorCode: no effect, and the call may be repeated
	crmLatency   = 30 * time.Millisecond
	headTimeout  = 5 * time.Second
	stopTimeout  = 2 * time.Second
	probeTimeout = 2 * time.Second
	maxAnswer    = 64 << 10 // bytes that are read
)

var errProbeTimeout = errors.New("no answer in time")

// A fakeCRM is the fake CRM over HTTP.
type fakeCRM struct {
	*crmapitest.Server
	http *http.Server
	addr string
	done chan struct{}
}

// startCRM serves the company of options at an address, with the sample members and departments.
func startCRM(ctx context.Context, addr string, options crmapitest.Options, failEvery int) (*fakeCRM, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	options.Latency = crmLatency
	for id := range departments {
		options.Departments = append(options.Departments, int64(id+1))
	}
	if failEvery > 0 {
		options.Fault = func(s crmapitest.Seen) (f crmapitest.Fault) {
			if s.N%failEvery == 0 {
				f.Code = systemBusy
			}
			return f
		}
	}
	crm := &fakeCRM{Server: crmapitest.New(options), addr: listener.Addr().String(), done: make(chan struct{})}
	for _, p := range people() {
		crm.SetMember(p.OpenUserID, p.Fields)
	}
	crm.http = &http.Server{Handler: crm.Server, ReadHeaderTimeout: headTimeout}
	go func() {
		defer close(crm.done)
		_ = crm.http.Serve(listener) // ends by close
	}()
	return crm, nil
}

// company returns what the fake CRM accepts.
func company(corp, token, api string) crmapitest.Options {
	return crmapitest.Options{CorpID: corp, Tokens: []string{token}, ObjectAPI: api == objectAPI}
}

// calledFor reports whether a call for the member of an employee is open.
func (c *fakeCRM) calledFor(employee string) bool {
	id := "FSUID_TEST" + strings.TrimPrefix(employee, "E")
	return slices.ContainsFunc(c.Calls(), func(s crmapitest.Seen) bool {
		return s.OpenUserID == id && s.Outcome == crmapitest.OutcomeOpen
	})
}

func (c *fakeCRM) close() {
	c.Release()
	_ = c.http.Close()
	<-c.done
}

// serveCRM is the command fakecrm.
func serveCRM(ctx context.Context, a *arguments, e env) int {
	crm, err := startCRM(ctx, a.addr, company(a.corp, a.token, a.crmAPI), a.failEvery)
	if err != nil {
		e.complain("the fake CRM: " + err.Error())
		return exitUsage
	}
	defer crm.close()
	say(e.stdout, "fake CRM    http://%s  with members %s to %s and departments 1 to %d\n", crm.addr, member(1), member(samplePeople), departments)
	say(e.stdout, "its members http://%s/_fake/members\n", crm.addr)
	<-ctx.Done()
	return ended(ctx)
}

// probe is the command probe.
func probe(ctx context.Context, a *arguments, e env) int {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout, errProbeTimeout)
	defer cancel()
	if _, err := ask(ctx, "http://"+a.addr+"/_fake/stats"); err != nil {
		e.complain("no fake CRM answers at " + a.addr + ": " + err.Error())
		return exitFailed
	}
	return exitDone
}

// ask returns the body of an answer with status 200.
func ask(ctx context.Context, url string) (body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	if answer.StatusCode != http.StatusOK {
		return "", errors.New(answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	return string(text), err
}
