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
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"

	"membersync/cmd/internal/test/testbed"
	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/cmd/internal/wiring/credentials/certtest"
	"membersync/crmapi/crmapitest"
	"membersync/dlq/kafkatest"
)

// What .ci/secured sets: the first of the ports, and a folder for the servers. It also names the
// listener of the test's own clients, as [kafkatest.Env].
const (
	portEnv = "MEMBERSYNC_TEST_SECURED"
	dirEnv  = "MEMBERSYNC_TEST_SECURED_DIR"
)

// The names of the page, and those of the CRM.
const (
	pageTopic, pageGroup = "hris.employee.changed", "membersync"
	corp, token          = "CORP_TEST", "TOKEN_TEST"
)

// The servers are shared by all rigs.
type servers struct {
	*host
	page   page
	binary string // membersync
	kafka  *kafkaServer
	redis  *redis.Client // its administrator
	crm    *crmapitest.Server
	crmURL string
	issuer *issuer
}

// open starts everything, and skips the test outside of .ci/secured.
func open(t *testing.T) *servers {
	t.Helper()
	port, err := strconv.Atoi(os.Getenv(portEnv))
	if err != nil {
		t.Skip("run .ci/secured test")
	}
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{root: root, dir: os.Getenv(dirEnv), port: port, ca: certtest.NewAuthority(t)}
	h.caFile = write(t, h.dir, "ca.pem", h.ca.PEM)
	s := &servers{host: h, page: readPage(t, root)}
	built := s.build(t)
	s.crm = crmapitest.New(crmapitest.Options{CorpID: corp, Tokens: []string{token}})
	s.crmURL = h.serveTLS(t, s.crm)
	s.issuer = startIssuer(t, h)
	s.redis = startRedis(t, h, "redis", portRedis, "no")
	s.kafka = startKafka(t, h, s.issuer)
	for _, name := range []string{service, onCall, viewer} {
		s.kafka.setPassword(t, name, password)
	}
	s.setRedisUser(t, service)
	s.setRedisUser(t, onCall)
	built()
	return s
}

// build builds the binary while the servers start. The function that it returns waits for it.
func (s *servers) build(t *testing.T) (wait func()) {
	t.Helper()
	s.binary = filepath.Join(s.dir, "membersync")
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "go", "build", "-race", "-o", s.binary, "membersync/cmd/membersync") //nolint:gosec // fixed words
	var out servicetest.Output
	cmd.Stdout, cmd.Stderr = &out, &out
	built, err := testbed.StartProcess(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if <-built.Done(); !built.State().Success() {
			t.Fatalf("building: %v\n%s", built.State(), out.String())
		}
	}
}

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
// in again on an open connection, so the broker closes it (KIP-368). The group's connection ends in
// the same way, and with it the generation, which needs 2 to 3 s until its first call: it meets
// other closed connections, and waits for the records that are there.
const loginLifetime = 6 * time.Second

// A host is where the servers run.
type host struct {
	root, dir string // of the module; of the servers' files
	port      int    // the first one
	ca        *certtest.Authority
	caFile    string
}

// address is one of the ports as host:port.
func (h *host) address(port int) string { return fmt.Sprintf("127.0.0.1:%d", h.port+port) }

// script runs one of the scripts that start and stop servers, with further variables.
func (h *host) script(t *testing.T, name string, environ []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(h.root, ".ci", name), args...) //nolint:gosec // fixed
	cmd.Env = append(os.Environ(), environ...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf(".ci/%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// A kafkaServer is Kafka, and what an administrator changes there.
type kafkaServer struct {
	*kafkatest.Broker
	admin *kgo.Client
}

// startKafka starts a broker with four listeners: one for the test, one for the controller, and
// the two under test.
func startKafka(t *testing.T, h *host, i *issuer) *kafkaServer {
	t.Helper()
	dir := filepath.Join(h.dir, "kafka")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	admin, controller := fmt.Sprint(h.port+portAdmin), fmt.Sprint(h.port+portController)
	listeners := "ADMIN://" + h.address(portAdmin) + ",SECURED://" + h.address(portKafka) +
		",ROTATED://" + h.address(portRotated)
	replaced := map[string]string{
		"listeners":                      listeners + ",CONTROLLER://" + h.address(portController),
		"advertised.listeners":           listeners,
		"inter.broker.listener.name":     "ADMIN",
		"listener.security.protocol.map": "ADMIN:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL,ROTATED:SASL_SSL",
	}
	var b strings.Builder
	for line := range strings.Lines(h.script(t, "kafka", nil, "properties", dir, admin, controller)) {
		name, _, _ := strings.Cut(line, "=")
		if value, ok := replaced[name]; ok {
			line = name + "=" + value + "\n"
		}
		b.WriteString(line)
	}
	for _, line := range securityProperties(h.caFile, h.keystore(t, "kafka.pem", h.ca), i.keysURL) {
		b.WriteString(line + "\n")
	}
	write(t, dir, "server.properties", []byte(b.String()))
	t.Cleanup(func() { h.script(t, "kafka", nil, "stop", dir) })
	allowed := "JAVA_TOOL_OPTIONS=-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=" + i.keysURL
	h.script(t, "kafka", []string{allowed}, "start", dir, admin, controller)
	client, err := kgo.NewClient(kgo.SeedBrokers(h.address(portAdmin)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &kafkaServer{Broker: kafkatest.Start(t), admin: client}
}

func securityProperties(caFile, keystore, keysURL string) []string {
	const module = "org.apache.kafka.common.security."
	properties := []string{
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"allow.everyone.if.no.acl.found=false",
		"super.users=User:admin;User:ANONYMOUS", // the latter comes through ADMIN or CONTROLLER
		"sasl.enabled.mechanisms=SCRAM-SHA-512,OAUTHBEARER",
		"sasl.oauthbearer.jwks.endpoint.url=" + keysURL,
		"sasl.oauthbearer.expected.issuer=" + issuerName,
		"sasl.oauthbearer.expected.audience=" + audience,
		"sasl.oauthbearer.clock.skew.seconds=0",
		"listener.name.rotated.ssl.client.auth=required",
		"listener.name.rotated.ssl.truststore.type=PEM",
		"listener.name.rotated.ssl.truststore.location=" + caFile,
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
func (h *host) keystore(t *testing.T, name string, by *certtest.Authority) (path string) {
	t.Helper()
	pair := by.Issue(t)
	return write(t, h.dir, name, pair.Key, pair.Cert)
}

// startRedis starts a server that takes connections with TLS alone. Its only user is an
// administrator, until the test adds others. The client that it returns has one connection.
func startRedis(t *testing.T, h *host, name string, port int, authClients string) *redis.Client {
	t.Helper()
	dir, pair := filepath.Join(h.dir, name), h.ca.Issue(t)
	cert, key := write(t, h.dir, name+"-cert.pem", pair.Cert), write(t, h.dir, name+"-key.pem", pair.Key)
	users := write(t, h.dir, name+".acl", []byte("user "+adminName+" on >"+adminPassword+" ~* &* +@all\nuser default off\n"))
	t.Cleanup(func() { h.script(t, "redis", nil, "stop", dir) })
	h.script(t, "redis", nil, "serve", dir, "0", "--tls-port", fmt.Sprint(h.port+port), "--tls-cert-file", cert,
		"--tls-key-file", key, "--tls-ca-cert-file", h.caFile, "--tls-auth-clients", authClients, "--aclfile", users)
	encryption := h.ca.Issue(t).Server(t, nil) // its certificate is a client's, too
	encryption.RootCAs = h.ca.Pool()
	client := redis.NewClient(&redis.Options{
		Addr: h.address(port), Username: adminName, Password: adminPassword, TLSConfig: encryption, MaxRetries: -1, PoolSize: 1,
	})
	t.Cleanup(func() { _ = client.Close() })
	servicetest.Eventually(t, "Redis", func() bool { return client.Ping(t.Context()).Err() == nil })
	return client
}

// startCluster starts three nodes of a Redis Cluster, and gives the service's user what the page
// says.
func startCluster(t *testing.T, h *host, p page) (url string) {
	t.Helper()
	dir := filepath.Join(h.dir, "cluster")
	var ports, nodes []string
	for i := range 3 {
		ports, nodes = append(ports, fmt.Sprint(h.port+portCluster+i)), append(nodes, h.address(portCluster+i))
	}
	t.Cleanup(func() { h.script(t, "redis", nil, "stop", dir) })
	h.script(t, "redis", nil, append([]string{"cluster", dir}, ports...)...)
	for _, node := range nodes {
		client := redis.NewClient(&redis.Options{Addr: node})
		doRedis(t, client, append(p.redisUser(service, password), "+cluster|slots")...)
		_ = client.Close()
	}
	return "redis://" + strings.Join(nodes, ",")
}

// serveTLS starts a server for a handler and returns its URL.
func (h *host) serveTLS(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = h.ca.Issue(t).Server(t, nil)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// write writes a file that only this user may read, and returns its path. A process that reads it
// finds either the old content or the new.
func write(t *testing.T, dir, name string, parts ...[]byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", slices.Concat(parts...), 0o600); err != nil { //nolint:gosec // a folder of the test
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil { //nolint:gosec // a folder of the test
		t.Fatal(err)
	}
	return path
}
