package main

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestFakeCRMAlone(t *testing.T) {
	t.Parallel()
	p := start(t, "fakecrm", "--addr", "127.0.0.1:0", "--token", "t", "--corp-id", "c", "--fail-every", "3")
	p.await(t, "/_fake/members")
	url := regexp.MustCompile(`http://[\d.]+:\d+`).FindString(p.out.String())
	if status, _, errs := call(t, "probe", "--addr", strings.TrimPrefix(url, "http://")); status != exitDone {
		t.Errorf("probe: status %d, stderr %s", status, errs)
	}
	const update = `{"corpAccessToken":"t","corpId":"c","user":{"openUserId":"FSUID_TEST0001","position":"Sample Lead"}}`
	for i, want := range []string{`"errorCode":0`, `"errorCode":0`, `"errorCode":-1`, `"errorCode":0`} {
		if got := exchange(t, http.MethodPost, url+"/cgi/crm/v2/data/update?thirdTraceId="+string(rune('a'+i)), update); !strings.Contains(got, want) {
			t.Errorf("call %d: %s, want %s", i, got, want)
		}
	}
	members := exchange(t, http.MethodGet, url+"/_fake/members", "")
	for _, want := range []string{`"FSUID_TEST0001":{"employeeNumber":"E0001","fullName":"Sample Person 001","position":"Sample Lead"}`, `"FSUID_TEST0009"`} {
		if !strings.Contains(members, want) {
			t.Errorf("members %s lack %s", members, want)
		}
	}
	const far = `{"corpAccessToken":"t","corpId":"c","user":{"openUserId":"FSUID_TEST0001","mainDepartmentId":21}}`
	if got := exchange(t, http.MethodPost, url+"/cgi/crm/v2/data/update?thirdTraceId=z", far); !strings.Contains(got, `"errorCode":30007`) {
		t.Errorf("department 21: %s", got)
	}
}

func exchange(t *testing.T, method, url, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestProbeOfNothing(t *testing.T) {
	t.Parallel()
	status, out, errs := call(t, "probe", "--addr", "127.0.0.1:1")
	if status != exitFailed || out != "" || !strings.HasPrefix(errs, "devstack: no fake CRM answers at 127.0.0.1:1: ") {
		t.Errorf("status %d, stdout %q, stderr %q", status, out, errs)
	}
}
