package cli

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"

	"membersync/cmd/internal/wiring/credentials/certtest"
	"membersync/dlq/kafkatest"
)

// secured starts each server of the service with TLS, and configures its address.
func secured() map[string]func(*testing.T, *rig, *tls.Config) {
	return map[string]func(*testing.T, *rig, *tls.Config){
		"kafka": func(t *testing.T, r *rig, config *tls.Config) {
			t.Helper()
			broker := kafkatest.StartFake(t, kfake.SeedTopics(1, "in"), kfake.TLS(config))
			r.set("KAFKA_BROKERS", strings.Join(broker.Addrs(), ","))
			r.set("KAFKA_TOPIC", "in")
			r.set("KAFKA_TLS", "true")
		},
		"redis": func(t *testing.T, r *rig, config *tls.Config) {
			t.Helper()
			redis, err := miniredis.RunTLS(config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(redis.Close)
			r.set("REDIS_URL", "rediss://"+redis.Addr())
		},
		"crm": func(t *testing.T, r *rig, config *tls.Config) {
			t.Helper()
			crm := httptest.NewUnstartedServer(r.crm)
			crm.TLS, crm.Config.ErrorLog = config, log.New(io.Discard, "", 0)
			crm.StartTLS()
			t.Cleanup(crm.Close)
			r.set("CRM_BASE_URL", crm.URL)
		},
	}
}

// A check names what is wrong with TLS, and the setting that removes it.
func TestCheckNamesTLSProblems(t *testing.T) {
	t.Parallel()
	for server, start := range secured() {
		prefix := strings.ToUpper(server) + "_TLS_"
		for name, tc := range map[string]struct {
			change  func(*x509.Certificate)
			ca      string // file
			clients bool
			want    []string
		}{
			"fine":               {nil, "ca", false, nil},
			"unknown authority":  {nil, "other", false, []string{"unknown authority", "set MEMBERSYNC_" + prefix + "CA_FILE to"}},
			"expired":            {certtest.Expired, "ca", false, []string{"expired", "renew the server's certificate"}},
			"wrong host":         {certtest.Named("name.test"), "ca", false, []string{"127.0.0.1", "set MEMBERSYNC_" + prefix + "SERVER_NAME to"}},
			"client certificate": {nil, "ca", true, []string{"certificate required", "set MEMBERSYNC_" + prefix + "CERT_FILE and MEMBERSYNC_" + prefix + "KEY_FILE"}},
		} {
			t.Run(server+", "+name, func(t *testing.T) {
				t.Parallel()
				r := newService(t)
				ca, other := certtest.NewAuthority(t), certtest.NewAuthority(t)
				r.files["ca"], r.files["other"] = string(ca.PEM), string(other.PEM)
				var changes []func(*x509.Certificate)
				if tc.change != nil {
					changes = append(changes, tc.change)
				}
				var clients *certtest.Authority
				if tc.clients {
					clients = ca
				}
				start(t, r, ca.Issue(t, changes...).Server(t, clients))
				r.set(prefix+"CA_FILE", tc.ca)
				status := r.run(t, "check", "-o", "json")
				if (status == exitFailed) != (len(tc.want) > 0) {
					t.Errorf("status %d: %s", status, r.out)
				}
				line := lineOf(r.out.String(), `"check":"`+server+`"`)
				for _, want := range tc.want {
					if !strings.Contains(line, want) {
						t.Errorf("%s lacks %q", line, want)
					}
				}
			})
		}
	}
}

// lineOf returns the first line that has a text.
func lineOf(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

// Whatever holds a password by mistake is not printed: run looks for the hushhush in all output.
func TestMisplacedPasswordsDoNotPrint(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*rig){
		"brokers":           func(r *rig) { r.set("KAFKA_BROKERS", "SASL_SSL://user:hushhush@kafka:9093") },
		"second broker":     func(r *rig) { r.set("KAFKA_BROKERS", "kafka:9093,user:hushhush@kafka:9093") },
		"topic":             func(r *rig) { r.set("KAFKA_TOPIC", "kafka://user:hushhush@kafka/topic") },
		"token URL":         func(r *rig) { r.set("KAFKA_SASL_TOKEN_URL", "https://user:hushhush@id.test/token") },
		"Redis":             func(r *rig) { r.set("REDIS_URL", "redis://user:hushhush@redis:port") },
		"Redis in the mode": func(r *rig) { r.set("REDIS_MODE", "redis://user:hushhush@redis") },
		"CRM":               func(r *rig) { r.set("CRM_BASE_URL", "https://user:hushhush@crm.test") },
		"path":              func(r *rig) { r.set("CRM_PATH", "https://user:hushhush@crm.test/path") },
		"proxy":             func(r *rig) { r.set("CRM_PROXY", "user:hushhush@proxy.test:3128") },
		"key as its path": func(r *rig) {
			r.set("KAFKA_TLS", "true")
			r.set("KAFKA_TLS_CERT_FILE", "-----BEGIN CERTIFICATE-----hushhush")
			r.set("KAFKA_TLS_KEY_FILE", "-----BEGIN PRIVATE KEY-----hushhush")
		},
		"YAML anchor": func(r *rig) { r.set("CONFIG", "c.yaml"); r.files["c.yaml"] = "kafka: {brokers: *hushhush}" },
		"YAML text":   func(r *rig) { r.set("CONFIG", "c.yaml"); r.files["c.yaml"] = "kafka: 'hushhush\n" },
		"YAML key":    func(r *rig) { r.set("CONFIG", "c.yaml"); r.files["c.yaml"] = "redis://user:hushhush@redis: x\n" },
		"YAML value": func(r *rig) {
			r.set("CONFIG", "c.yaml")
			r.files["c.yaml"] = "redis: {mode: 'redis://user:hushhush@redis'}\n"
		},
	} {
		for _, command := range []string{"check", "run"} {
			r := newService(t)
			change(r)
			if status := r.run(t, command); status != exitUsage {
				t.Errorf("%s, %s: status %d: %s", command, name, status, r.errs)
			}
		}
	}
}
