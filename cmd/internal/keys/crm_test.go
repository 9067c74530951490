package keys_test

import (
	"net/http"

	"membersync/crmapi/crmapitest"
)

func crmTests() map[string]func(*scene) {
	return map[string]func(*scene){
		"CRM_BASE_URL": crmBaseURL, "CRM_PATH": crmPath, "CRM_CORP_ID": crmCorpID,
		"CRM_TOKEN": crmToken(byVariable), "CRM_TOKEN_FILE": crmToken(byFile),
	}
}

const operatorPause = `"cause":"crm_operator"`

// The server named is called.
func crmBaseURL(s *scene) {
	one, other := s.rig(), s.rig()
	one.produce(one.title("ev", 1))
	one.start().applies("ev")
	wantCalls(one, 1)
	wantCalls(other, 0)
	one.start("CRM_BASE_URL", other.variables["CRM_BASE_URL"], "KAFKA_GROUP", s.broker.Group(s.t)).applies("ev")
	wantCalls(one, 1)
	wantCalls(other, 1)
}

func wantCalls(r *rig, want int) {
	r.t.Helper()
	if got := len(r.crm.Calls()); got != want {
		r.t.Errorf("%d calls, want %d", got, want)
	}
}

// The path named is called.
func crmPath(s *scene) {
	usual, old := s.rig(), s.rig(crmapitest.Options{Path: "/cgi/user/update"})
	mux := http.NewServeMux()
	mux.Handle(crmapitest.UpdatePath, usual.crm)
	mux.Handle("/cgi/user/update", old.crm)
	url := s.serve(mux)
	usual.produce(usual.title("ev", 1))
	old.produce(old.title("ev", 1))
	usual.start("CRM_BASE_URL", url).applies("ev")
	wantCalls(usual, 1)
	wantCalls(old, 0)
	old.start("CRM_BASE_URL", url, "CRM_PATH", "/cgi/user/update").applies("ev")
	wantCalls(usual, 1)
	wantCalls(old, 1)
}

// Another company is refused, which is the operator's to mend.
func crmCorpID(s *scene) {
	right, bad := s.rig(), s.rig()
	right.produce(right.title("ev", 1))
	bad.produce(bad.title("ev", 1))
	p := right.start()
	bad.start("CRM_CORP_ID", "OTHER_TEST").says(operatorPause)
	p.applies("ev")
	wantCode(bad, crmapitest.CodeCorp)
}

// wantCode wants the first call to have been answered with the code.
func wantCode(r *rig, want int) {
	r.t.Helper()
	if calls := r.crm.Calls(); len(calls) == 0 || calls[0].Code != want {
		r.t.Errorf("calls %+v, want the first to be answered with %d", calls, want)
	}
}

// Another token is refused, which is the operator's to mend.
func crmToken(give giver) func(*scene) {
	return func(s *scene) {
		right, bad := s.rig(), s.rig()
		right.produce(right.title("ev", 1))
		bad.produce(bad.title("ev", 1))
		give(right, "CRM_TOKEN", token)
		give(bad, "CRM_TOKEN", wrong)
		p := right.start()
		bad.start().says(operatorPause)
		p.applies("ev")
		wantCode(bad, crmapitest.CodeToken)
	}
}
