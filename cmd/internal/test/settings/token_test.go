package settings_test

import (
	"slices"

	"membersync/crmapi/crmapitest"
)

func tokenTests() map[string]func(*scene) {
	return map[string]func(*scene){
		"CRM_APP_ID":              tokenPart("CRM_APP_ID", "APP_TEST", "OTHER_TEST", byVariable, crmapitest.CodeSecret),
		"CRM_APP_SECRET":          tokenPart("CRM_APP_SECRET", "canary-secret", wrong, byVariable, crmapitest.CodeSecret),
		"CRM_APP_SECRET_FILE":     tokenPart("CRM_APP_SECRET", "canary-secret", wrong, byFile, crmapitest.CodeSecret),
		"CRM_PERMANENT_CODE":      tokenPart("CRM_PERMANENT_CODE", "canary-code", wrong, byVariable, crmapitest.CodePermanent),
		"CRM_PERMANENT_CODE_FILE": tokenPart("CRM_PERMANENT_CODE", "canary-code", wrong, byFile, crmapitest.CodePermanent),
	}
}

// tokenPart shows that a part of what fetches tokens brings one, and that another value is refused.
func tokenPart(name, good, bad string, give giver, refusal int) func(*scene) {
	return func(s *scene) {
		one, other := s.rig(), s.rig()
		for _, r := range []*rig{one, other} {
			r.unset("CRM_TOKEN")
			r.set("CRM_APP_ID", "APP_TEST")
			r.set("CRM_APP_SECRET", "canary-secret")
			r.set("CRM_PERMANENT_CODE", "canary-code")
			r.produce(r.title("ev", 1))
		}
		give(one, name, good)
		give(other, name, bad)
		p := one.start()
		other.start().says(operatorPause)
		p.applies("ev")
		wantFetch(one, crmapitest.CodeSuccess)
		wantFetch(other, refusal)
		wantCalls(other, 0)
	}
}

// wantFetch wants the first request for a token to have been answered with the code.
func wantFetch(r *rig, want int) {
	r.t.Helper()
	log := r.crm.Log()
	at := slices.IndexFunc(log, func(e crmapitest.Seen) bool { return e.Endpoint == crmapitest.EndpointToken })
	if at < 0 || log[at].Code != want {
		r.t.Errorf("requests %+v, want one for a token that is answered with %d", log, want)
	}
}
