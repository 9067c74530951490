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
func proveRotation(t *testing.T, r *rig) {
	t.Helper()
	dir := t.TempDir()
	old, renewed := r.ca.Issue(t), certtest.NewAuthority(t)
	files := map[string][]byte{
		"kafka-ca.pem": r.ca.PEM, "kafka-cert.pem": old.Cert, "kafka-key.pem": old.Key, "kafka-password": []byte(password),
		"redis-ca.pem": r.ca.PEM, "redis-cert.pem": old.Cert, "redis-key.pem": old.Key, "redis-password": []byte(password),
	}
	for name, content := range files {
		write(t, dir, name, content)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	r = r.with(t, "rotated.changed", "group-rotated",
		"KAFKA_BROKERS", r.address(portRotated), "KAFKA_SASL_USERNAME", user,
		"KAFKA_SASL_PASSWORD", "", "KAFKA_SASL_PASSWORD_FILE", in("kafka-password"), "KAFKA_TLS_CA_FILE", in("kafka-ca.pem"),
		"KAFKA_TLS_CERT_FILE", in("kafka-cert.pem"), "KAFKA_TLS_KEY_FILE", in("kafka-key.pem"),
		"REDIS_URL", "rediss://"+r.address(portRedis2)+"/0", "REDIS_USERNAME", service,
		"REDIS_PASSWORD", "", "REDIS_PASSWORD_FILE", in("redis-password"), "REDIS_TLS_CA_FILE", in("redis-ca.pem"),
		"REDIS_TLS_CERT_FILE", in("redis-cert.pem"), "REDIS_TLS_KEY_FILE", in("redis-key.pem"))
	r.setKafkaPassword(user, password)
	own, create := r.acls(service)
	for _, a := range slices.Concat(own, create) {
		a.principal = "User:" + user
		r.grant(a)
	}
	other := r.startRedis("redis-2", portRedis2, "yes")
	if err := other.Do(t.Context(), r.userCommand(service, password)...).Err(); err != nil {
		t.Fatal(err)
	}
	s := r.run(t)
	r.apply(t)
	for _, rotation := range slices.Concat(r.kafkaRotations(renewed), r.redisRotations(other, renewed)) {
		t.Run(rotation.name, func(t *testing.T) { r.prove(t, s, dir, rotation) })
	}
	r.settle(t)
	if n := r.deadLetters(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	s.terminate()
	wantOneStart(t, s)
}

// prove carries a rotation out.
func (r *rig) prove(t *testing.T, s *process, dir string, rotation rotation) {
	t.Helper()
	from := s.logged()
	rotation.atServer(t)
	early, late := r.newPerson(true), r.newPerson(true)
	r.produce(early, "Sample Clerk") // may still be applied through a connection of Kafka
	s.await(from, rotation.log)
	r.produce(late, "Sample Clerk")
	if status, stdout, _ := r.do(t, service, "check"); status != 1 || !strings.Contains(stdout, rotation.check) {
		t.Errorf("check: status %d, want 1 and %q:\n%s", status, rotation.check, stdout)
	}
	if r.position(late) != "" {
		t.Error("an event was applied in between")
	}
	for name, content := range rotation.files {
		write(t, dir, name, content)
	}
	r.awaitApplied(t, early)
	r.awaitApplied(t, late)
	for range 2 { // of both partitions
		r.apply(t)
	}
}

// kafkaRotations are those at Kafka.
func (r *rig) kafkaRotations(renewed *certtest.Authority) []rotation {
	client := renewed.Issue(r.t)
	return []rotation{
		{
			name: "the certificate of Kafka and its authority",
			atServer: func(t *testing.T) {
				t.Helper()
				r.alterBroker(t, "listener.name.rotated.ssl.keystore.location", r.keystore("kafka-2.pem", renewed))
				servicetest.Eventually(t, "the certificate to be in use", func() bool { return r.isServing(t, renewed) })
			},
			log: "cannot join the consumer group", check: "set MEMBERSYNC_KAFKA_TLS_CA_FILE",
			files: map[string][]byte{"kafka-ca.pem": renewed.PEM},
		},
		{
			name: "the certificate of the client at Kafka and its authority",
			atServer: func(t *testing.T) {
				t.Helper()
				r.alterBroker(t, "listener.name.rotated.ssl.truststore.location", write(t, r.dir, "kafka-clients-2.pem", renewed.PEM))
			},
			log: "cannot join the consumer group", check: "MEMBERSYNC_KAFKA_TLS_CERT_FILE",
			files: map[string][]byte{"kafka-cert.pem": client.Cert, "kafka-key.pem": client.Key},
		},
		{
			name:     "the password at Kafka",
			atServer: func(t *testing.T) { t.Helper(); r.setKafkaPassword(user, next) },
			log:      "cannot join the consumer group", check: "SASL Authentication Failed",
			files: map[string][]byte{"kafka-password": []byte(next)},
		},
	}
}

// redisRotations are those at Redis.
func (r *rig) redisRotations(admin *redis.Client, renewed *certtest.Authority) []rotation {
	server, client := renewed.Issue(r.t), renewed.Issue(r.t)
	// do runs a command that changes the server, and cuts the connections of the service.
	do := func(t *testing.T, command ...any) {
		t.Helper()
		for _, args := range [][]any{command, {"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}} {
			if err := admin.Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return []rotation{
		{
			name: "the certificate of Redis and its authority",
			atServer: func(t *testing.T) {
				t.Helper()
				do(t, "CONFIG", "SET", "tls-cert-file", write(t, r.dir, "redis-2-next-cert.pem", server.Cert),
					"tls-key-file", write(t, r.dir, "redis-2-next-key.pem", server.Key))
			},
			log: `"calls paused","cause":"redis"`, check: "set MEMBERSYNC_REDIS_TLS_CA_FILE",
			files: map[string][]byte{"redis-ca.pem": renewed.PEM},
		},
		{
			name: "the certificate of the client at Redis and its authority",
			atServer: func(t *testing.T) {
				t.Helper()
				do(t, "CONFIG", "SET", "tls-ca-cert-file", write(t, r.dir, "redis-2-next-ca.pem", renewed.PEM))
			},
			log: `"calls paused","cause":"redis"`, check: "MEMBERSYNC_REDIS_TLS_CERT_FILE",
			files: map[string][]byte{"redis-cert.pem": client.Cert, "redis-key.pem": client.Key},
		},
		{
			name:     "the password at Redis",
			atServer: func(t *testing.T) { t.Helper(); do(t, r.userCommand(service, next)...) },
			log:      `"calls paused","cause":"redis"`, check: "WRONGPASS",
			files: map[string][]byte{"redis-password": []byte(next)},
		},
	}
}

// alterBroker changes a setting of the broker while it runs (KIP-226, KIP-339).
func (r *rig) alterBroker(t *testing.T, name, value string) {
	t.Helper()
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value, config.Op = name, &value, kmsg.IncrementalAlterConfigOpSet
	broker := kmsg.NewIncrementalAlterConfigsRequestResource()
	broker.ResourceType, broker.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
	broker.Configs = append(broker.Configs, config)
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, broker)
	answer, err := req.RequestWith(t.Context(), r.admin)
	if err != nil {
		t.Fatal(err)
	}
	if result := answer.Resources[0]; result.ErrorCode != 0 {
		t.Fatalf("changing %s: error code %d, %s", name, result.ErrorCode, *result.ErrorMessage)
	}
}

// isServing reports whether Kafka's certificate is one of an authority.
func (r *rig) isServing(t *testing.T, by *certtest.Authority) bool {
	t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: by.Pool()}}
	conn, err := dialer.DialContext(t.Context(), "tcp", r.address(portRotated))
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}
