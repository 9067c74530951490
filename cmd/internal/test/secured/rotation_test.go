package secured

import (
	"crypto/tls"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/cmd/internal/wiring/credentials/certtest"
)

// What the service of the rotations logs in with at Kafka, and at both servers at the end.
const (
	user = "rotated"
	next = "made-up-next-password-of-the-test"
)

// A rotation replaces a certificate or a secret, first at the server, then in the service's files.
type rotation struct {
	name string
	// atServer replaces it, and cuts the connections that were made before, unless the server does
	// that by itself.
	atServer func(*testing.T)
	log      string // what the service then logs
	check    string // what check says
	files    map[string][]byte
}

// proveRotation replaces certificates and secrets while the service runs. Until its files hold the
// new ones, events wait. Nothing is lost, nothing becomes a dead letter, and the service is not
// restarted.
func proveRotation(t *testing.T, all *servers) {
	t.Helper()
	dir := t.TempDir()
	old, renewed := all.ca.Issue(t), certtest.NewAuthority(t)
	files := map[string][]byte{
		"kafka-ca.pem": all.ca.PEM, "kafka-cert.pem": old.Cert, "kafka-key.pem": old.Key, "kafka-password": []byte(password),
		"redis-ca.pem": all.ca.PEM, "redis-cert.pem": old.Cert, "redis-key.pem": old.Key, "redis-password": []byte(password),
	}
	for name, content := range files {
		write(t, dir, name, content)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	r := all.rig(t, "rotated.changed", "group-rotated",
		"KAFKA_BROKERS", all.address(portRotated), "KAFKA_SASL_USERNAME", user,
		"KAFKA_SASL_PASSWORD", "", "KAFKA_SASL_PASSWORD_FILE", in("kafka-password"), "KAFKA_TLS_CA_FILE", in("kafka-ca.pem"),
		"KAFKA_TLS_CERT_FILE", in("kafka-cert.pem"), "KAFKA_TLS_KEY_FILE", in("kafka-key.pem"),
		"REDIS_URL", "rediss://"+all.address(portRedis2)+"/0", "REDIS_USERNAME", service,
		"REDIS_PASSWORD", "", "REDIS_PASSWORD_FILE", in("redis-password"), "REDIS_TLS_CA_FILE", in("redis-ca.pem"),
		"REDIS_TLS_CERT_FILE", in("redis-cert.pem"), "REDIS_TLS_KEY_FILE", in("redis-key.pem"))
	r.kafka.setPassword(t, user, password)
	r.grantService(t, user)
	other := startRedis(t, r.host, "redis-2", portRedis2, "yes")
	doRedis(t, other, r.page.redisUser(service, password)...)
	s := r.program.start(t, service, "run")
	r.source.apply(t)
	for _, rotation := range slices.Concat(kafkaRotations(t, r.servers, renewed), redisRotations(t, r.servers, other, renewed)) {
		t.Run(rotation.name, func(t *testing.T) { rotate(t, r, s, dir, rotation) })
	}
	r.stop(t, s)
	r.wantNoDeadLetters(t)
}

// rotate carries a rotation out.
func rotate(t *testing.T, r *rig, s *servicetest.Process, dir string, rotation rotation) {
	t.Helper()
	from := logged(s)
	rotation.atServer(t)
	early := r.source.event(t) // may still be applied through a connection of Kafka
	s.Await(from, rotation.log)
	late := r.source.event(t)
	if status, stdout, _ := r.program.do(t, service, "check"); status != 1 || !strings.Contains(stdout, rotation.check) {
		t.Errorf("check: status %d, want 1 and %q:\n%s", status, rotation.check, stdout)
	}
	if r.source.position(late.member) != "" {
		t.Error("an event was applied in between")
	}
	for name, content := range rotation.files {
		write(t, dir, name, content)
	}
	r.source.awaitApplied(t, early)
	r.source.awaitApplied(t, late)
	for range 2 { // of both partitions
		r.source.apply(t)
	}
}

// kafkaRotations are those at Kafka.
func kafkaRotations(t *testing.T, all *servers, renewed *certtest.Authority) []rotation {
	t.Helper()
	client := renewed.Issue(t)
	return []rotation{
		{
			name: "the certificate of Kafka and its authority",
			atServer: func(t *testing.T) {
				t.Helper()
				all.kafka.alter(t, "listener.name.rotated.ssl.keystore.location", all.keystore(t, "kafka-2.pem", renewed))
				servicetest.Eventually(t, "the certificate to be in use", func() bool { return isServing(t, all.address(portRotated), renewed) })
			},
			log: "cannot join the consumer group", check: "set MEMBERSYNC_KAFKA_TLS_CA_FILE",
			files: map[string][]byte{"kafka-ca.pem": renewed.PEM},
		},
		{
			name: "the certificate of the client at Kafka and its authority",
			atServer: func(t *testing.T) {
				t.Helper()
				all.kafka.alter(t, "listener.name.rotated.ssl.truststore.location", write(t, all.dir, "kafka-clients-2.pem", renewed.PEM))
			},
			log: "cannot join the consumer group", check: "MEMBERSYNC_KAFKA_TLS_CERT_FILE",
			files: map[string][]byte{"kafka-cert.pem": client.Cert, "kafka-key.pem": client.Key},
		},
		{
			name:     "the password at Kafka",
			atServer: func(t *testing.T) { t.Helper(); all.kafka.setPassword(t, user, next) },
			log:      "cannot join the consumer group", check: "SASL Authentication Failed",
			files: map[string][]byte{"kafka-password": []byte(next)},
		},
	}
}

// redisRotations are those at Redis.
func redisRotations(t *testing.T, all *servers, admin *redis.Client, renewed *certtest.Authority) []rotation {
	t.Helper()
	server, client := renewed.Issue(t), renewed.Issue(t)
	// do runs a command that changes the server, and cuts the connections of the service.
	do := func(t *testing.T, command ...any) {
		t.Helper()
		doRedis(t, admin, command...)
		doRedis(t, admin, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	}
	return []rotation{
		{
			name: "the certificate of Redis and its authority",
			atServer: func(t *testing.T) {
				t.Helper()
				do(t, "CONFIG", "SET", "tls-cert-file", write(t, all.dir, "redis-2-next-cert.pem", server.Cert),
					"tls-key-file", write(t, all.dir, "redis-2-next-key.pem", server.Key))
			},
			log: `"calls paused","cause":"redis"`, check: "set MEMBERSYNC_REDIS_TLS_CA_FILE",
			files: map[string][]byte{"redis-ca.pem": renewed.PEM},
		},
		{
			name: "the certificate of the client at Redis and its authority",
			atServer: func(t *testing.T) {
				t.Helper()
				do(t, "CONFIG", "SET", "tls-ca-cert-file", write(t, all.dir, "redis-2-next-ca.pem", renewed.PEM))
			},
			log: `"calls paused","cause":"redis"`, check: "MEMBERSYNC_REDIS_TLS_CERT_FILE",
			files: map[string][]byte{"redis-cert.pem": client.Cert, "redis-key.pem": client.Key},
		},
		{
			name:     "the password at Redis",
			atServer: func(t *testing.T) { t.Helper(); do(t, all.page.redisUser(service, next)...) },
			log:      `"calls paused","cause":"redis"`, check: "WRONGPASS",
			files: map[string][]byte{"redis-password": []byte(next)},
		},
	}
}

// alter changes a setting of the broker while it runs (KIP-226, KIP-339).
func (k *kafkaServer) alter(t *testing.T, name, value string) {
	t.Helper()
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value, config.Op = name, &value, kmsg.IncrementalAlterConfigOpSet
	broker := kmsg.NewIncrementalAlterConfigsRequestResource()
	broker.ResourceType, broker.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
	broker.Configs = append(broker.Configs, config)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, broker)
	answer, err := req.RequestWith(t.Context(), k.admin)
	if err != nil {
		t.Fatal(err)
	}
	if result := answer.Resources[0]; result.ErrorCode != 0 {
		t.Fatalf("changing %s: error code %d, %s", name, result.ErrorCode, *result.ErrorMessage)
	}
}

// isServing reports whether a server's certificate is one of an authority.
func isServing(t *testing.T, address string, by *certtest.Authority) bool {
	t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: by.Pool()}}
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}
