package secured

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/cmd/internal/wiring/credentials/certtest"
	"membersync/crmapi/crmapitest"
)

// The ports from the one that .ci/secured has chosen.
const (
	portAdmin      = 0 // of Kafka, without TLS: everyone who gets there is a super user
	portController = 1 // of Kafka
	portKafka      = 2 // of Kafka, with TLS and SASL
	portRedis      = 3 // with TLS alone
	portCluster    = 4 // the first of three, without TLS
	portRotated    = 7 // of Kafka, with TLS for both sides; a login counts for loginLifetime
	portRedis2     = 8 // with TLS for both sides, to be rotated
)

// loginLifetime is how long a connection to portRotated may live. The client library does not log
// in again on an open connection, so the broker closes it (KIP-368).
const loginLifetime = 3 * time.Second

// address is one of the ports as host:port.
func (r *rig) address(port int) string { return fmt.Sprintf("127.0.0.1:%d", r.port+port) }

// script runs one of the scripts that start and stop servers, with further variables.
func (r *rig) script(name string, environ []string, args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(r.t.Context()), filepath.Join(r.root, ".ci", name), args...) //nolint:gosec // fixed
	cmd.Env = append(os.Environ(), environ...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf(".ci/%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// startKafka starts a broker with four listeners: one for the test, one for the controller, and
// the two under test.
func (r *rig) startKafka() {
	r.t.Helper()
	dir := filepath.Join(r.dir, "kafka")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	admin, controller := fmt.Sprint(r.port+portAdmin), fmt.Sprint(r.port+portController)
	listeners := "ADMIN://" + r.address(portAdmin) + ",SECURED://" + r.address(portKafka) +
		",ROTATED://" + r.address(portRotated)
	replaced := map[string]string{
		"listeners":                      listeners + ",CONTROLLER://" + r.address(portController),
		"advertised.listeners":           listeners,
		"inter.broker.listener.name":     "ADMIN",
		"listener.security.protocol.map": "ADMIN:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL,ROTATED:SASL_SSL",
	}
	var b strings.Builder
	for line := range strings.Lines(r.script("kafka", nil, "properties", dir, admin, controller)) {
		name, _, _ := strings.Cut(line, "=")
		if value, ok := replaced[name]; ok {
			line = name + "=" + value + "\n"
		}
		b.WriteString(line)
	}
	for _, line := range r.securityProperties() {
		b.WriteString(line + "\n")
	}
	write(r.t, dir, "server.properties", []byte(b.String()))
	r.t.Cleanup(func() { r.script("kafka", nil, "stop", dir) })
	allowed := "JAVA_TOOL_OPTIONS=-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=" + r.issuer.keysURL
	r.script("kafka", []string{allowed}, "start", dir, admin, controller)
}

func (r *rig) securityProperties() []string {
	r.t.Helper()
	const module = "org.apache.kafka.common.security."
	keystore := r.keystore("kafka.pem", r.ca)
	properties := []string{
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"allow.everyone.if.no.acl.found=false",
		"super.users=User:admin;User:ANONYMOUS", // the latter comes through ADMIN or CONTROLLER
		"sasl.enabled.mechanisms=SCRAM-SHA-512,OAUTHBEARER",
		"sasl.oauthbearer.jwks.endpoint.url=" + r.issuer.keysURL,
		"sasl.oauthbearer.expected.issuer=" + issuerName,
		"sasl.oauthbearer.expected.audience=" + audience,
		"sasl.oauthbearer.clock.skew.seconds=0",
		"listener.name.rotated.ssl.client.auth=required",
		"listener.name.rotated.ssl.truststore.type=PEM",
		"listener.name.rotated.ssl.truststore.location=" + r.caFile,
		fmt.Sprint("listener.name.rotated.scram-sha-512.connections.max.reauth.ms=", loginLifetime.Milliseconds()),
		// The lifetime of a token has an effect only with a limit of its own.
		"listener.name.secured.oauthbearer.connections.max.reauth.ms=3600000",
	}
	for _, listener := range []string{"secured", "rotated"} {
		prefix := "listener.name." + listener + "."
		properties = append(properties,
			prefix+"scram-sha-512.sasl.jaas.config="+module+"scram.ScramLoginModule required;",
			prefix+"oauthbearer.sasl.jaas.config="+module+"oauthbearer.OAuthBearerLoginModule required;",
			prefix+"oauthbearer.sasl.server.callback.handler.class="+module+"oauthbearer.OAuthBearerValidatorCallbackHandler",
			prefix+"ssl.keystore.type=PEM",
			prefix+"ssl.keystore.location="+keystore,
		)
	}
	return properties
}

// keystore writes a certificate and its key for Kafka.
func (r *rig) keystore(name string, by *certtest.Authority) (path string) {
	r.t.Helper()
	pair := by.Issue(r.t)
	return write(r.t, r.dir, name, pair.Key, pair.Cert)
}

// startRedis starts a server that takes connections with TLS alone. Its only user is an
// administrator, until the test adds others. The client that it returns has one connection.
func (r *rig) startRedis(name string, port int, authClients string) *redis.Client {
	r.t.Helper()
	dir, pair := filepath.Join(r.dir, name), r.ca.Issue(r.t)
	cert, key := write(r.t, r.dir, name+"-cert.pem", pair.Cert), write(r.t, r.dir, name+"-key.pem", pair.Key)
	users := write(r.t, r.dir, name+".acl", []byte("user "+adminName+" on >"+adminPassword+" ~* &* +@all\nuser default off\n"))
	r.t.Cleanup(func() { r.script("redis", nil, "stop", dir) })
	r.script("redis", nil, "serve", dir, "0", "--tls-port", fmt.Sprint(r.port+port), "--tls-cert-file", cert,
		"--tls-key-file", key, "--tls-ca-cert-file", r.caFile, "--tls-auth-clients", authClients, "--aclfile", users)
	encryption := r.ca.Issue(r.t).Server(r.t, nil) // its certificate is a client's, too
	encryption.RootCAs = r.ca.Pool()
	client := redis.NewClient(&redis.Options{
		Addr: r.address(port), Username: adminName, Password: adminPassword, TLSConfig: encryption, MaxRetries: -1, PoolSize: 1,
	})
	r.t.Cleanup(func() { _ = client.Close() })
	servicetest.Eventually(r.t, "Redis", func() bool { return client.Ping(r.t.Context()).Err() == nil })
	return client
}

// startCluster starts three nodes of a Redis Cluster, and gives the service's user what the page
// says.
func (r *rig) startCluster() (url string) {
	r.t.Helper()
	dir := filepath.Join(r.dir, "cluster")
	var ports, nodes []string
	for i := range 3 {
		ports, nodes = append(ports, fmt.Sprint(r.port+portCluster+i)), append(nodes, r.address(portCluster+i))
	}
	r.t.Cleanup(func() { r.script("redis", nil, "stop", dir) })
	r.script("redis", nil, append([]string{"cluster", dir}, ports...)...)
	for _, node := range nodes {
		client := redis.NewClient(&redis.Options{Addr: node})
		args := []any{"ACL", "SETUSER", service, ">" + password, "+cluster|slots"}
		for _, rule := range r.page.redis[service] {
			if rule != "reset" {
				args = append(args, rule)
			}
		}
		if err := client.Do(r.t.Context(), args...).Err(); err != nil {
			r.t.Fatal(err)
		}
		_ = client.Close()
	}
	return "redis://" + strings.Join(nodes, ",")
}

// startCRM starts the fake CRM, with TLS.
func (r *rig) startCRM() {
	r.t.Helper()
	r.crm = crmapitest.New(crmapitest.Options{CorpID: corp, Tokens: []string{token}})
	r.crmURL = r.serveTLS(r.crm)
}

// serveTLS starts a server for a handler and returns its URL.
func (r *rig) serveTLS(handler http.Handler) string {
	r.t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = r.ca.Issue(r.t).Server(r.t, nil)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	r.t.Cleanup(server.Close)
	return server.URL
}

// write writes a file that only this user may read, and returns its path. A process that reads it
// finds either the old content or the new.
func write(t *testing.T, dir, name string, parts ...[]byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", slices.Concat(parts...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}
