package settings_test

import (
	"net/http"
	"strings"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

func crmTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"CRM_BASE_URL": crmBaseURL, "CRM_PATH": crmPath, "CRM_CORP_ID": crmCorpID,
		"CRM_API": crmAPI, "CRM_OBJECT_FIELDS": crmObjectFields,
		"CRM_TOKEN": crmToken(byVariable), "CRM_TOKEN_FILE": crmToken(byFile),
	}
}

const operatorPause = `"cause":"crm_refused"`

// The service calls the server at the URL.
func crmBaseURL(s *settingTest) {
	one, other := s.rig(), s.rig()
	one.produce(one.title("ev", 1))
	one.start().applies("ev")
	wantCalls(one, 1)
	wantCalls(other, 0)
	one.start("CRM_BASE_URL", other.Variables["CRM_BASE_URL"], "KAFKA_GROUP", s.broker.Group(s.t)).applies("ev")
	wantCalls(one, 1)
	wantCalls(other, 1)
}

func wantCalls(r *rig, want int) {
	r.t.Helper()
	if got := len(r.CRM.Calls()); got != want {
		r.t.Errorf("%d calls, want %d", got, want)
	}
}

// The service calls the path.
func crmPath(s *settingTest) {
	usual, old := s.rig(), s.rig(crmapitest.Options{Path: "/cgi/user/update"})
	mux := http.NewServeMux()
	mux.Handle(crmapitest.UpdatePath, usual.CRM)
	mux.Handle("/cgi/user/update", old.CRM)
	url := servicetest.Serve(s.t, mux)
	usual.produce(usual.title("ev", 1))
	old.produce(old.title("ev", 1))
	usual.start("CRM_BASE_URL", url).applies("ev")
	wantCalls(usual, 1)
	wantCalls(old, 0)
	old.start("CRM_BASE_URL", url, "CRM_PATH", "/cgi/user/update").applies("ev")
	wantCalls(usual, 1)
	wantCalls(old, 1)
}

// Updates have the form of one API or the other. Each of the two accepts no other form.
func crmAPI(s *settingTest) {
	user, object := s.rig(), s.rig(crmapitest.Options{ObjectAPI: true})
	object.set("CRM_OBJECT_FIELDS", crmapitest.ObjectFields)
	for _, r := range []*rig{user, object} {
		r.produce(r.change("ev", 1, map[string]any{"mobile": "00000000001", "mainDepartmentId": 1000, "hireDate": 1678896000000}))
	}
	user.start("CRM_API", "user").applies("ev")
	p := object.start("CRM_API", "object")
	p.applies("ev")
	p.Stop()
	if diff := cmp.Diff(user.CRM.State(member(1)), object.CRM.State(member(1))); diff != "" {
		s.t.Errorf("members (-by user +by object):\n%s", diff)
	}
	object.produce(object.title("other form", 2))
	object.start("CRM_API", "user").ends("other form", consumer.DeadLettered)
	object.wantReason(dlq.ReasonCRMInvalid)
}

// A field is sent under its configured name. If one of the mapping's fields has no name, the
// program does not start.
func crmObjectFields(s *settingTest) {
	r := s.rig(crmapitest.Options{ObjectAPI: true})
	r.set("CRM_API", "object")
	r.start().refuses("account, name, position, email, qq, weixin, attachingDepartmentIds, hireDate, birthDate, startWorkDate")
	r.produce(r.title("right", 1))
	p := r.start("CRM_OBJECT_FIELDS", crmapitest.ObjectFields)
	p.applies("right")
	p.Stop()
	r.produce(r.title("wrong", 2))
	r.start("CRM_OBJECT_FIELDS", strings.Replace(crmapitest.ObjectFields, "position:position", "position:title", 1)).ends("wrong", consumer.DeadLettered)
	r.wantReason(dlq.ReasonCRMInvalid)
}

// Another company is refused. The operator must fix that.
func crmCorpID(s *settingTest) {
	right, bad := s.rig(), s.rig()
	right.produce(right.title("ev", 1))
	bad.produce(bad.title("ev", 1))
	p := right.start()
	bad.start("CRM_CORP_ID", "OTHER_TEST").says(operatorPause)
	p.applies("ev")
	wantCode(bad, crmapitest.CodeCorp)
}

// wantCode checks that the response to the first call had the code.
func wantCode(r *rig, want int) {
	r.t.Helper()
	if calls := r.CRM.Calls(); len(calls) == 0 || calls[0].Code != want {
		r.t.Errorf("calls %+v, want the first to be answered with %d", calls, want)
	}
}

// Another token is refused. The operator must fix that.
func crmToken(set setter) func(*settingTest) {
	return func(s *settingTest) {
		right, bad := s.rig(), s.rig()
		right.produce(right.title("ev", 1))
		bad.produce(bad.title("ev", 1))
		set(right, "CRM_TOKEN", token)
		set(bad, "CRM_TOKEN", wrong)
		p := right.start()
		bad.start().says(operatorPause)
		p.applies("ev")
		wantCode(bad, crmapitest.CodeToken)
	}
}
