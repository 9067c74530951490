package settings_test

import (
	"slices"

	"membersync/crmapi/crmapitest"
)

func tokenTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"CRM_APP_ID":              tokenPart("CRM_APP_ID", "APP_TEST", "OTHER_TEST", byVariable, crmapitest.CodeSecret),
		"CRM_APP_SECRET":          tokenPart("CRM_APP_SECRET", "canary-secret", wrong, byVariable, crmapitest.CodeSecret),
		"CRM_APP_SECRET_FILE":     tokenPart("CRM_APP_SECRET", "canary-secret", wrong, byFile, crmapitest.CodeSecret),
		"CRM_PERMANENT_CODE":      tokenPart("CRM_PERMANENT_CODE", "canary-code", wrong, byVariable, crmapitest.CodePermanent),
		"CRM_PERMANENT_CODE_FILE": tokenPart("CRM_PERMANENT_CODE", "canary-code", wrong, byFile, crmapitest.CodePermanent),
	}
}

// tokenPart shows that the right value of a part of the token request fetches a token, and that
// another value is refused.
func tokenPart(name, good, bad string, set setter, refusal int) func(*settingTest) {
	return func(s *settingTest) {
		one, other := s.rig(), s.rig()
		for _, r := range []*rig{one, other} {
			r.unset("CRM_TOKEN")
			r.set("CRM_APP_ID", "APP_TEST")
			r.set("CRM_APP_SECRET", "canary-secret")
			r.set("CRM_PERMANENT_CODE", "canary-code")
			r.produce(r.title("ev", 1))
		}
		set(one, name, good)
		set(other, name, bad)
		p := one.start()
		other.start().says(operatorPause)
		p.applies("ev")
		wantFetch(one, crmapitest.CodeSuccess)
		wantFetch(other, refusal)
		wantCalls(other, 0)
	}
}

// wantFetch checks that the response to the first token request had the code.
func wantFetch(r *rig, want int) {
	r.t.Helper()
	log := r.CRM.Log()
	at := slices.IndexFunc(log, func(e crmapitest.Seen) bool { return e.Endpoint == crmapitest.EndpointToken })
	if at < 0 || log[at].Code != want {
		r.t.Errorf("requests %+v, want one for a token that is answered with %d", log, want)
	}
}
