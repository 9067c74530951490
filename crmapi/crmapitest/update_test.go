package crmapitest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi/crmapitest"
)

func TestUpdateIsApplied(t *testing.T) {
	t.Parallel()
	c := newCaller(t, options())
	for _, user := range []string{
		`{"openUserId":"FSUID_TEST0001","name":"Sample Person 001","gender":"F","hireDate":"1700000000000"}`,
		`{"openUserId":"FSUID_TEST0001","email":"","attachingDepartmentIds":[],"birthDate":"-1"}`,
		`{"openUserId":"FSUID_TEST0001","name":"Sample Person 002","mainDepartmentId":1000,"attachingDepartmentIds":[2,1]}`,
	} {
		if got := c.update(t, user); got != crmapitest.CodeSuccess {
			t.Fatalf("%s: %d", user, got)
		}
	}
	want := map[string]json.RawMessage{
		"name": json.RawMessage(`"Sample Person 002"`), "gender": json.RawMessage(`"F"`),
		"hireDate": json.RawMessage(`"1700000000000"`), "email": json.RawMessage(`""`),
		"attachingDepartmentIds": json.RawMessage(`[2,1]`), "birthDate": json.RawMessage(`"-1"`),
		"mainDepartmentId": json.RawMessage(`1000`),
	}
	if diff := cmp.Diff(want, c.fake.State(member)); diff != "" {
		t.Error(diff)
	}
}

func TestFieldsAreChecked(t *testing.T) {
	t.Parallel()
	c := newCaller(t, options())
	big := strings.TrimSuffix(strings.Repeat("1,", 501), ",")
	for field, want := range map[string]int{
		`"gender":"X"`:                           crmapitest.CodeRule,
		`"gender":"m"`:                           crmapitest.CodeRule,
		`"gender":""`:                            crmapitest.CodeRule,
		`"gender":null`:                          crmapitest.CodeType,
		`"hireDate":1700000000000`:               crmapitest.CodeType,
		`"hireDate":"2023-03-16"`:                crmapitest.CodeRule,
		`"birthDate":"007"`:                      crmapitest.CodeRule,
		`"birthDate":""`:                         crmapitest.CodeRule,
		`"birthDate":"-0"`:                       crmapitest.CodeRule,
		`"startWorkDate":"1e3"`:                  crmapitest.CodeRule,
		`"mainDepartmentId":"1"`:                 crmapitest.CodeType,
		`"mainDepartmentId":1.5`:                 crmapitest.CodeType,
		`"mainDepartmentId":-1`:                  crmapitest.CodeRule,
		`"mainDepartmentId":3`:                   crmapitest.CodeNoDepartment,
		`"attachingDepartmentIds":[1,3]`:         crmapitest.CodeNoDepartment,
		`"attachingDepartmentIds":1`:             crmapitest.CodeType,
		`"attachingDepartmentIds":["1"]`:         crmapitest.CodeType,
		`"attachingDepartmentIds":[-1]`:          crmapitest.CodeRule,
		`"attachingDepartmentIds":null`:          crmapitest.CodeType,
		`"attachingDepartmentIds":[` + big + `]`: crmapitest.CodeRule,
		`"name":""`:                              crmapitest.CodeRule,
		`"mobile":1`:                             crmapitest.CodeType,
		`"Mobile":"1"`:                           crmapitest.CodeType,
		`"phone":"1"`:                            crmapitest.CodeType,
	} {
		if got := c.update(t, `{"openUserId":"FSUID_TEST0001","position":"x",`+field+`}`); got != want {
			t.Errorf("%.60s: %d, want %d", field, got, want)
		}
	}
	if state := c.fake.State(member); len(state) > 0 {
		t.Errorf("rejected updates changed the member: %v", state)
	}
}

func TestRequestsAreChecked(t *testing.T) {
	t.Parallel()
	const (
		access = `"corpAccessToken":"TOKEN_TEST","corpId":"CORP_TEST"`
		user   = `"user":{"openUserId":"FSUID_TEST0001","qq":"1"}`
	)
	c := newCaller(t, options())
	for body, want := range map[string]int{
		`{` + access + `,` + user + `}`:                                             crmapitest.CodeSuccess,
		`{"corpAccessToken":"TOKEN_OLD","corpId":"CORP_TEST",` + user + `}`:         crmapitest.CodeToken,
		`{"corpId":"CORP_TEST",` + user + `}`:                                       crmapitest.CodeToken,
		`{"corpAccessToken":"TOKEN_TEST","corpId":"OTHER",` + user + `}`:            crmapitest.CodeCorp,
		`{"corpAccessToken":"TOKEN_TEST",` + user + `}`:                             crmapitest.CodeCorp,
		`{` + access + `,"more":1,` + user + `}`:                                    crmapitest.CodeMalformed,
		`{` + access + `,"corpId":"CORP_TEST",` + user + `}`:                        crmapitest.CodeMalformed,
		`{` + access + `,` + user + `} {}`:                                          crmapitest.CodeMalformed,
		`[]`:                                                                        crmapitest.CodeMalformed,
		``:                                                                          crmapitest.CodeMalformed,
		`{` + access + `}`:                                                          crmapitest.CodeMissing,
		`{` + access + `,"user":null}`:                                              crmapitest.CodeMissing,
		`{` + access + `,"user":{"qq":"1"}}`:                                        crmapitest.CodeMissing,
		`{` + access + `,"user":{"openUserId":7,"qq":"1"}}`:                         crmapitest.CodeMissing,
		`{` + access + `,"user":{"openUserId":"FSUID_TEST0001"}}`:                   crmapitest.CodeMissing,
		`{` + access + `,"user":{"openUserId":"FSUID_TEST0009","qq":"1"}}`:          crmapitest.CodeNoMember,
		`{` + access + `,"user":{"openUserId":"FSUID_TEST0001","qq":"1","qq":"2"}}`: crmapitest.CodeMalformed,
	} {
		if got := c.postBody(t, body); got != want {
			t.Errorf("%s: %d, want %d", body, got, want)
		}
	}
}

func TestTransportIsChecked(t *testing.T) {
	t.Parallel()
	c := newCaller(t, options())
	for _, tt := range []struct {
		method, path, kind string
		want               int
	}{
		{http.MethodGet, c.newPath(), "application/json", http.StatusMethodNotAllowed},
		{http.MethodPost, c.newPath(), "text/plain", http.StatusUnsupportedMediaType},
		{http.MethodPost, "/elsewhere", "application/json", http.StatusNotFound},
		{http.MethodPost, c.newPath(), "application/json; charset=utf-8", http.StatusOK},
	} {
		if got, _ := c.send(t, tt.method, tt.path, tt.kind, body); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
	used := c.newPath()
	for i, path := range []string{used, used, crmapitest.UpdatePath, c.newPath() + "&x=1", crmapitest.UpdatePath + "?thirdTraceId="} {
		_, text := c.send(t, http.MethodPost, path, "application/json", body)
		want := crmapitest.CodeBadTrace
		if i == 0 {
			want = crmapitest.CodeSuccess
		}
		if got := code(t, text); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if n := len(c.fake.Violations()); n != 6 {
		t.Errorf("%d violations: %v", n, c.fake.Violations())
	}
}

func TestUniqueValues(t *testing.T) {
	t.Parallel()
	opts := options()
	opts.AutoCreate, opts.DuplicateCode = true, 4711
	c := newCaller(t, opts)
	steps := []struct {
		user string
		want int
	}{
		{`{"openUserId":"A","account":"a","name":"n","mobile":"1"}`, 0},
		{`{"openUserId":"A","account":"a","mobile":"1"}`, 0}, // its own values
		{`{"openUserId":"B","account":"a"}`, 4711},
		{`{"openUserId":"B","name":"n"}`, 4711},
		{`{"openUserId":"B","mobile":"1"}`, 4711},
		{`{"openUserId":"B","account":"n","fullName":"n","email":"a"}`, 0}, // these fields need not be unique
		{`{"openUserId":"A","mobile":"2"}`, 0},
		{`{"openUserId":"B","mobile":"1"}`, 0}, // not taken anymore
		{`{"openUserId":"A","mobile":"1"}`, 4711},
	}
	for _, step := range steps {
		if got := c.update(t, step.user); got != step.want {
			t.Errorf("%s: %d, want %d", step.user, got, step.want)
		}
	}
	c.fake.RemoveMember("B")
	if got := c.update(t, `{"openUserId":"A","mobile":"1"}`); got != 0 {
		t.Errorf("the mobile of a removed member is still taken: %d", got)
	}
	if diff := cmp.Diff([]string{"A", member}, c.fake.Members()); diff != "" {
		t.Error(diff)
	}
}

// post makes a request without a socket, for virtual time, and returns the body of the response.
func post(t *testing.T, fake *crmapitest.Server, path, body string) string {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	fake.ServeHTTP(w, r)
	return w.Body.String()
}

func TestRateLimitSlides(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := options()
		opts.RateLimit = 2
		c := caller{fake: crmapitest.New(opts), traces: newCounter()}
		for _, step := range []struct {
			at   int // seconds
			want int
		}{{0, 0}, {15, 0}, {19, 14001}, {20, 0}, {21, 14001}, {35, 0}, {36, 14001}} {
			sleepUntil(step.at)
			text := post(t, c.fake, c.newPath(), body)
			if got := code(t, text); got != step.want {
				t.Errorf("after %d s: %d, want %d", step.at, got, step.want)
			}
		}
	})
}

func TestTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := caller{fake: crmapitest.New(options()), traces: newCounter()}
		fetch := func(at int) (token string, lifetime int64) {
			sleepUntil(at)
			text := post(t, c.fake, crmapitest.IssuePath,
				`{"appId":"APP_TEST","appSecret":"SECRET_TEST","permanentCode":"CODE_TEST"}`)
			var resp struct {
				Code  int    `json:"errorCode"`
				Token string `json:"corpAccessToken"`
				Corp  string `json:"corpId"`
				Life  int64  `json:"expiresIn"`
			}
			if err := json.Unmarshal([]byte(text), &resp); err != nil || resp.Code != 0 || resp.Corp != "CORP_TEST" {
				t.Fatal(text, err)
			}
			return resp.Token, resp.Life
		}
		isValid := func(token string) bool {
			text := post(t, c.fake, c.newPath(),
				`{"corpAccessToken":"`+token+`","corpId":"CORP_TEST","user":{"openUserId":"FSUID_TEST0001","qq":"1"}}`)
			return code(t, text) == crmapitest.CodeSuccess
		}
		first, lifetime := fetch(0)
		if lifetime != 7200 || !isValid(first) {
			t.Fatalf("lifetime %d s", lifetime)
		}
		if again, lifetime := fetch(6599); again != first || lifetime != 601 {
			t.Errorf("before the window: another token: %v, lifetime %d s", again != first, lifetime)
		}
		second, lifetime := fetch(6600)
		if second == first || lifetime != 7200 || !isValid(first) || !isValid(second) {
			t.Errorf("in the window: lifetime %d s, valid: first %v, second %v", lifetime, isValid(first), isValid(second))
		}
		sleepUntil(7200)
		if isValid(first) || !isValid(second) {
			t.Error("after the expiry of the first token")
		}
		c.fake.RevokeTokens()
		if third, _ := fetch(7300); isValid(second) || !isValid(third) {
			t.Error("after a revocation")
		}
	})
}

func TestTokenRequestsAreChecked(t *testing.T) {
	t.Parallel()
	c := newCaller(t, options())
	for body, want := range map[string]int{
		`{"appId":"APP_TEST","appSecret":"SECRET_TEST","permanentCode":"CODE_TEST"}`:          crmapitest.CodeSuccess,
		`{"appId":"OTHER","appSecret":"SECRET_TEST","permanentCode":"CODE_TEST"}`:             crmapitest.CodeSecret,
		`{"appId":"APP_TEST","appSecret":"OTHER","permanentCode":"CODE_TEST"}`:                crmapitest.CodeSecret,
		`{"appId":"APP_TEST","appSecret":"SECRET_TEST"}`:                                      crmapitest.CodePermanent,
		`{"appId":"APP_TEST","appSecret":"SECRET_TEST","permanentCode":"CODE_TEST","more":1}`: crmapitest.CodeMalformed,
	} {
		if _, text := c.send(t, http.MethodPost, crmapitest.IssuePath, "application/json", body); code(t, text) != want {
			t.Errorf("%s: %s", body, text)
		}
	}
}

func TestTooManyTokenFetches(t *testing.T) {
	t.Parallel()
	c := newCaller(t, options())
	for i := range 11 {
		_, text := c.send(t, http.MethodPost, crmapitest.IssuePath, "application/json",
			`{"appId":"APP_TEST","appSecret":"SECRET_TEST","permanentCode":"CODE_TEST"}`)
		want := crmapitest.CodeSuccess
		if i == 10 {
			want = crmapitest.CodePerSecond
		}
		if code(t, text) != want {
			t.Errorf("fetch %d: %s", i+1, text)
		}
	}
	if len(c.fake.Violations()) != 1 {
		t.Error(c.fake.Violations())
	}
}
