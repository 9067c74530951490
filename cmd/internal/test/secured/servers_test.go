package secured

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/redis/go-redis/v9"

	"membersync/crmapi/crmapitest"
)

// The ports from the one that .ci/secured has chosen.
const (
	portAdmin      = iota // of Kafka, without TLS: everyone who gets there is a super user
	portController        // of Kafka
	portKafka             // of Kafka, with TLS and SASL
	portRedis             // with TLS alone
	portCluster           // the first of three, without TLS
)

// address is one of the ports as host:port.
func (r *rig) address(port int) string { return fmt.Sprintf("127.0.0.1:%d", r.port+port) }

// script runs one of the scripts that start and stop servers.
func (r *rig) script(name string, args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(r.t.Context()), filepath.Join(r.root, ".ci", name), args...) //nolint:gosec // fixed
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf(".ci/%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// startKafka starts a broker with three listeners: one for the test, one for the controller, and the
// one under test.
func (r *rig) startKafka() {
	r.t.Helper()
	dir := filepath.Join(r.dir, "kafka")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	cert, key := r.ca.issue(r.t, "kafka")
	keystore := write(r.t, r.dir, "kafka.pem", key, cert)
	admin, controller := fmt.Sprint(r.port+portAdmin), fmt.Sprint(r.port+portController)
	replaced := map[string]string{
		"listeners":                      "ADMIN://" + r.address(portAdmin) + ",SECURED://" + r.address(portKafka) + ",CONTROLLER://" + r.address(portController),
		"advertised.listeners":           "ADMIN://" + r.address(portAdmin) + ",SECURED://" + r.address(portKafka),
		"inter.broker.listener.name":     "ADMIN",
		"listener.security.protocol.map": "ADMIN:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL",
	}
	var b strings.Builder
	for line := range strings.Lines(r.script("kafka", "properties", dir, admin, controller)) {
		name, _, _ := strings.Cut(line, "=")
		if value, ok := replaced[name]; ok {
			line = name + "=" + value + "\n"
		}
		b.WriteString(line)
	}
	for _, line := range []string{
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"allow.everyone.if.no.acl.found=false",
		"super.users=User:admin;User:ANONYMOUS", // the latter comes through ADMIN or CONTROLLER
		"sasl.enabled.mechanisms=SCRAM-SHA-512",
		"listener.name.secured.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"listener.name.secured.ssl.keystore.type=PEM",
		"listener.name.secured.ssl.keystore.location=" + keystore,
	} {
		b.WriteString(line + "\n")
	}
	write(r.t, dir, "server.properties", []byte(b.String()))
	r.t.Cleanup(func() { r.script("kafka", "stop", dir) })
	r.script("kafka", "start", dir, admin, controller)
}

// startRedis starts a server that takes connections with TLS alone. Its only user is an administrator,
// until the test adds others.
func (r *rig) startRedis() {
	r.t.Helper()
	dir := filepath.Join(r.dir, "redis")
	cert, key := r.ca.issue(r.t, "redis")
	certFile, keyFile := write(r.t, r.dir, "redis-cert.pem", cert), write(r.t, r.dir, "redis-key.pem", key)
	users := write(r.t, r.dir, "users.acl", []byte("user admin on >"+adminPassword+" ~* &* +@all\nuser default off\n"))
	r.t.Cleanup(func() { r.script("redis", "stop", dir) })
	r.script("redis", "serve", dir, "0", "--tls-port", fmt.Sprint(r.port+portRedis), "--tls-cert-file", certFile,
		"--tls-key-file", keyFile, "--tls-ca-cert-file", r.caFile, "--tls-auth-clients", "no",
		"--aclfile", users)
	r.redis = redis.NewClient(&redis.Options{
		Addr: r.address(portRedis), Username: "admin", Password: adminPassword, TLSConfig: r.trust(), MaxRetries: -1,
	})
	r.t.Cleanup(func() { _ = r.redis.Close() })
	eventually(r.t, "Redis", func() bool { return r.redis.Ping(r.t.Context()).Err() == nil })
}

// startCluster starts three nodes of a Redis Cluster, and gives the service's user what the page says.
func (r *rig) startCluster() (url string) {
	r.t.Helper()
	dir := filepath.Join(r.dir, "cluster")
	var ports, nodes []string
	for i := range 3 {
		ports, nodes = append(ports, fmt.Sprint(r.port+portCluster+i)), append(nodes, r.address(portCluster+i))
	}
	r.t.Cleanup(func() { r.script("redis", "stop", dir) })
	r.script("redis", append([]string{"cluster", dir}, ports...)...)
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
	server := httptest.NewUnstartedServer(http.Handler(r.crm))
	pair, err := tls.X509KeyPair(r.ca.issue(r.t, "crm"))
	if err != nil {
		r.t.Fatal(err)
	}
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	r.t.Cleanup(server.Close)
	r.crmURL = server.URL
}

// trust trusts the CA of the test.
func (r *rig) trust() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(r.ca.cert)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
}
