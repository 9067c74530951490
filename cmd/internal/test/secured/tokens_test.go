package secured

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// proveTokens logs in at Kafka with access tokens (OAUTHBEARER) that live for seconds. The broker
// closes the connections of expired ones; the service continues with new ones. Secrets and tokens
// that are refused end the start with what is wrong.
func proveTokens(t *testing.T, all *servers) {
	t.Helper()
	r := all.rig(t, "tokens.changed", "group-tokens",
		"KAFKA_SASL_MECHANISM", "OAUTHBEARER", "KAFKA_SASL_USERNAME", "", "KAFKA_SASL_PASSWORD", "",
		"KAFKA_SASL_TOKEN_URL", all.issuer.tokenURL, "KAFKA_SASL_CLIENT_ID", clientID, "KAFKA_SASL_CLIENT_SECRET", clientSecret,
		"REDIS_USERNAME", adminName, "REDIS_PASSWORD", adminPassword)
	r.grantService(t, clientID)
	s := r.program.start(t, service, "run")
	events := 0
	for start := r.issuer.issued.Load(); r.issuer.issued.Load() < start+5; events++ {
		r.source.apply(t)
	}
	r.stop(t, s)
	r.wantNoDeadLetters(t)
	joined := strings.Count(s.Err.String(), "joined the group")
	if joined < 2 {
		t.Errorf("the group was joined %d times: did Kafka close no connection?", joined)
	}
	t.Logf("%d events, %d tokens, the group joined %d times", events, r.issuer.issued.Load(), joined)

	wantRefused(t, r, "MEMBERSYNC_KAFKA_SASL_TOKEN_URL: no access token: HTTP 401, invalid_client", "KAFKA_SASL_CLIENT_SECRET", "made-up-wrong-secret")
	stranger := newRSAKey(t)
	url := r.serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		token, err := sign(stranger)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, token)
	}))
	wantRefused(t, r, "SASL Authentication Failed|the last one was refused", "KAFKA_SASL_TOKEN_URL", url)
}

// wantRefused starts the service and runs check with another value of a variable. Both must end
// with what is wrong, and must not print the value.
func wantRefused(t *testing.T, r *rig, why, name, value string) {
	t.Helper()
	variables := r.program.environ(service)
	variables[name] = value
	for command, want := range map[string]int{"run": 2, "check": 1} {
		p := r.program.startWith(t, variables, command)
		status := p.Status()
		output := p.Out.String() + p.Err.String()
		if status != want || !regexp.MustCompile(why).MatchString(output) || strings.Contains(output, "made-up-wrong-secret") {
			t.Errorf("%s with another %s: status %d, want %d and %s, and no secret:\n%s", command, name, status, want, why, output)
		}
	}
}
