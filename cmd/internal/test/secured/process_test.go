package secured

import (
	"maps"
	"testing"
	"time"

	"membersync/cmd/internal/test/testbed/servicetest"
)

// A program is membersync with the settings of a rig.
type program struct {
	*servers
	topic, group string
	variables    map[string]string // of the services, without MEMBERSYNC_
}

// environ are the variables of a process that logs in as the user.
func (p *program) environ(user string) map[string]string {
	redisUser := user
	if user == viewer {
		redisUser = onCall
	}
	variables := map[string]string{
		"KAFKA_BROKERS": p.address(portKafka), "KAFKA_TOPIC": p.topic, "KAFKA_GROUP": p.group,
		"KAFKA_TLS": "true", "KAFKA_TLS_CA_FILE": p.caFile, "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
		"KAFKA_SASL_USERNAME": user, "KAFKA_SASL_PASSWORD": password,
		"REDIS_URL": "rediss://" + p.address(portRedis) + "/0", "REDIS_TLS_CA_FILE": p.caFile,
		"REDIS_USERNAME": redisUser, "REDIS_PASSWORD": password,
		"STATE_KEY":    "a made-up state key of more than 32 bytes",
		"CRM_BASE_URL": p.crmURL, "CRM_CORP_ID": corp, "CRM_TOKEN": token, "CRM_TLS_CA_FILE": p.caFile,
		"CRM_RATE": "1000/10s", "ADMIN_ADDR": "127.0.0.1:0",
	}
	if user == service {
		maps.Copy(variables, p.variables)
	}
	// An empty value is as good as given, and some variables exclude others.
	maps.DeleteFunc(variables, func(_, value string) bool { return value == "" })
	return variables
}

// start starts a command as a user.
func (p *program) start(t *testing.T, user string, args ...string) *servicetest.Process {
	t.Helper()
	return p.startWith(t, p.environ(user), args...)
}

// startWith starts a command with just these variables.
func (p *program) startWith(t *testing.T, variables map[string]string, args ...string) *servicetest.Process {
	t.Helper()
	command := servicetest.NewProcess(t, p.binary, variables, args...)
	command.Launch()
	return command
}

// do runs a command as a user to its end. It must take seconds.
func (p *program) do(t *testing.T, user string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	began := time.Now()
	command := p.start(t, user, args...)
	status = command.Status()
	took := time.Since(began)
	t.Logf("%s: %q: status %d in %.1f s", user, args, status, took.Seconds())
	if took > quickly {
		t.Errorf("%s: %q took %v, want less than %v", user, args, took, quickly)
	}
	return status, command.Out.String(), command.Err.String()
}

// quickly is within how much time a command has to end, and a service to say what is missing.
const quickly = 20 * time.Second

// must runs a command as a user, which has to succeed.
func (p *program) must(t *testing.T, user string, args ...string) string {
	t.Helper()
	status, stdout, stderr := p.do(t, user, args...)
	if status != 0 {
		t.Errorf("%s: %q: status %d: %s%s", user, args, status, stdout, stderr)
	}
	return stdout
}

// wantCheckFails runs check, which has to name what is missing.
func (p *program) wantCheckFails(t *testing.T, user string, texts ...string) {
	t.Helper()
	status, stdout, stderr := p.do(t, user, "check")
	if status != 1 {
		t.Errorf("check without %q: status %d, want 1", texts, status)
	}
	wantDenied(t, "check", append(texts, "failed"), stdout+stderr)
}

// logged is how much a process has logged so far, for Await.
func logged(s *servicetest.Process) int { return len(s.Err.String()) }

// isPaused reports whether the service pauses for a cause.
func isPaused(t *testing.T, s *servicetest.Process, cause string) bool {
	t.Helper()
	metrics, err := s.Admin().Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return metrics.Sum("membersync_paused", `cause="`+cause+`"`) > 0
}
