package settings_test

import (
	"crypto/tls"
	"crypto/x509"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/cmd/internal/wiring/credentials/certtest"
	"membersync/dlq/kafkatest"
)

func connectionTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"KAFKA_TLS": kafkaTLS, "KAFKA_TLS_CA_FILE": kafkaTLSCAFile,
		"KAFKA_TLS_CERT_FILE": kafkaTLSCertFile, "KAFKA_TLS_KEY_FILE": kafkaTLSKeyFile,
		"KAFKA_TLS_SERVER_NAME": kafkaTLSServerName,
		"KAFKA_SASL_MECHANISM":  kafkaSASLMechanism, "KAFKA_SASL_USERNAME": kafkaSASLUsername,
		"KAFKA_SASL_PASSWORD": kafkaSASLPassword(byVariable), "KAFKA_SASL_PASSWORD_FILE": kafkaSASLPassword(byFile),
	}
}

const joined = "joined the group"

// A listener for TLS does not accept a plain client.
func kafkaTLS(s *settingTest) {
	r := s.tlsRig(false)
	r.start("KAFKA_TLS", "true", "KAFKA_TLS_CA_FILE", "ca").says(joined)
	r.start("KAFKA_TLS", "false").says("start waits")
}

// The broker's certificate is verified with the file's.
func kafkaTLSCAFile(s *settingTest) {
	r := s.tlsRig(false)
	r.set("KAFKA_TLS", "true")
	r.start("KAFKA_TLS_CA_FILE", "ca").says(joined)
	r.start("KAFKA_TLS_CA_FILE", "other-ca").refuses("set MEMBERSYNC_KAFKA_TLS_CA_FILE")
}

// A broker that requires a client certificate gets one.
func kafkaTLSCertFile(s *settingTest) {
	r := s.tlsRig(true)
	r.set("KAFKA_TLS", "true")
	r.set("KAFKA_TLS_CA_FILE", "ca")
	r.start("KAFKA_TLS_CERT_FILE", "cert", "KAFKA_TLS_KEY_FILE", "key").says(joined)
	r.start().says("certificate required")
}

// The key must match the certificate.
func kafkaTLSKeyFile(s *settingTest) {
	r := s.tlsRig(true)
	r.set("KAFKA_TLS", "true")
	r.set("KAFKA_TLS_CA_FILE", "ca")
	r.set("KAFKA_TLS_CERT_FILE", "cert")
	r.start("KAFKA_TLS_KEY_FILE", "key").says(joined)
	r.start("KAFKA_TLS_KEY_FILE", "other-key").refuses("MEMBERSYNC_KAFKA_TLS_CERT_FILE: does not go with MEMBERSYNC_KAFKA_TLS_KEY_FILE")
}

// The name in the broker's certificate differs from its address.
func kafkaTLSServerName(s *settingTest) {
	r := s.tlsRig(false, certtest.Named("kafka.test"))
	r.set("KAFKA_TLS", "true")
	r.set("KAFKA_TLS_CA_FILE", "ca")
	r.start("KAFKA_TLS_SERVER_NAME", "kafka.test").says(joined)
	r.start().refuses("set MEMBERSYNC_KAFKA_TLS_SERVER_NAME")
}

// tlsRig has a broker with TLS, and the files ca, cert, key, other and other-key.
func (s *settingTest) tlsRig(clients bool, changes ...func(*x509.Certificate)) *rig {
	s.t.Helper()
	r := s.rig()
	r.use(kafkatest.StartFake(s.t, kfake.SeedTopics(1, "in"), kfake.TLS(r.tlsServer(clients, changes...))))
	return r
}

// tlsServer returns the configuration of a server that requires client certificates, or not. It
// creates the files ca, cert, key, other and other-key, the last two from another authority.
func (r *rig) tlsServer(clients bool, changes ...func(*x509.Certificate)) *tls.Config {
	r.t.Helper()
	ca, unknown := certtest.NewAuthority(r.t), certtest.NewAuthority(r.t)
	own, other := ca.Issue(r.t), unknown.Issue(r.t)
	for name, text := range map[string][]byte{
		"ca": ca.PEM, "cert": own.Cert, "key": own.Key,
		"other-ca": unknown.PEM, "other": other.Cert, "other-key": other.Key,
	} {
		r.SetFile(name, string(text))
	}
	var wanted *certtest.Authority
	if clients {
		wanted = ca
	}
	return ca.Issue(r.t, changes...).Server(r.t, wanted)
}

// use replaces the rig's broker with one of the test's own, whose topic is named in.
func (r *rig) use(broker *kafkatest.Broker) {
	r.set("KAFKA_BROKERS", strings.Join(broker.Addrs(), ","))
	r.set("KAFKA_TOPIC", "in")
	r.set("KAFKA_GROUP", "group")
}

// saslRig has a broker that accepts one user, by one mechanism.
func (s *settingTest) saslRig(mechanism string) *rig {
	s.t.Helper()
	r := s.rig()
	broker := kafkatest.StartFake(s.t, kfake.SeedTopics(1, "in"), kfake.EnableSASL(), kfake.Superuser(mechanism, "user", "canary"))
	r.use(broker)
	r.set("KAFKA_SASL_MECHANISM", mechanism)
	r.set("KAFKA_SASL_USERNAME", "user")
	r.set("KAFKA_SASL_PASSWORD", "canary")
	return r
}

// The broker knows the user by only one mechanism.
func kafkaSASLMechanism(s *settingTest) {
	all := []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}
	for i, mechanism := range all {
		r := s.saslRig(mechanism)
		r.start().says(joined)
		r.start("KAFKA_SASL_MECHANISM", all[(i+1)%len(all)]).says("start waits")
	}
}

// The broker knows only one user.
func kafkaSASLUsername(s *settingTest) {
	r := s.saslRig("SCRAM-SHA-512")
	r.start().says(joined)
	r.start("KAFKA_SASL_USERNAME", "unknown").says("start waits")
}

// A setter sets a secret.
type setter func(r *rig, name, secret string)

func byVariable(r *rig, name, secret string) { r.set(name, secret) }

func byFile(r *rig, name, secret string) {
	r.unset(name)
	path := "secret " + name
	r.SetFile(path, secret+"\n")
	r.set(name+"_FILE", path)
}

// A wrong password is a permanent error.
func kafkaSASLPassword(set setter) func(*settingTest) {
	return func(s *settingTest) {
		right, bad := s.saslRig("PLAIN"), s.rig()
		set(right, "KAFKA_SASL_PASSWORD", "canary")
		right.start().says(joined)
		broker := kafkatest.StartFake(s.t, kfake.SeedTopics(1, "in"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "canary"))
		refuseLikeKafka(broker.Fake())
		bad.use(broker)
		bad.set("KAFKA_SASL_MECHANISM", "PLAIN")
		bad.set("KAFKA_SASL_USERNAME", "user")
		set(bad, "KAFKA_SASL_PASSWORD", wrong)
		bad.start().refuses("SASL")
	}
}

// refuseLikeKafka answers a wrong password with an error code. The fake closes the connection,
// which looks the same as a broker that fails.
func refuseLikeKafka(fake *kfake.Cluster) {
	fake.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		auth, ok := req.(*kmsg.SASLAuthenticateRequest)
		if !ok || !strings.Contains(string(auth.SASLAuthBytes), wrong) {
			return nil, nil, false
		}
		res := kmsg.NewPtrSASLAuthenticateResponse()
		res.Version = req.GetVersion()
		res.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return res, nil, true
	})
}
