package settings_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/dlq/kafkatest"
)

func connectionTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"KAFKA_TLS": kafkaTLS, "KAFKA_TLS_CA_FILE": kafkaTLSCAFile,
		"KAFKA_TLS_CERT_FILE": kafkaTLSCertFile, "KAFKA_TLS_KEY_FILE": kafkaTLSKeyFile,
		"KAFKA_SASL_MECHANISM": kafkaSASLMechanism, "KAFKA_SASL_USERNAME": kafkaSASLUsername,
		"KAFKA_SASL_PASSWORD": kafkaSASLPassword(byVariable), "KAFKA_SASL_PASSWORD_FILE": kafkaSASLPassword(byFile),
	}
}

const joined = "joined the group"

// A TLS listener does not accept a plain client.
func kafkaTLS(s *settingTest) {
	r := s.tlsRig(tls.NoClientCert)
	r.start("KAFKA_TLS", "true", "KAFKA_TLS_CA_FILE", "cert").says(joined)
	r.start("KAFKA_TLS", "false").says("start waits")
}

// The broker's certificate is verified with the file's.
func kafkaTLSCAFile(s *settingTest) {
	r := s.tlsRig(tls.NoClientCert)
	r.set("KAFKA_TLS", "true")
	r.start("KAFKA_TLS_CA_FILE", "cert").says(joined)
	r.start("KAFKA_TLS_CA_FILE", "other").refuses("certificate")
}

// A broker that requires a client certificate gets one.
func kafkaTLSCertFile(s *settingTest) {
	r := s.tlsRig(tls.RequireAndVerifyClientCert)
	r.set("KAFKA_TLS", "true")
	r.set("KAFKA_TLS_CA_FILE", "cert")
	r.start("KAFKA_TLS_CERT_FILE", "cert", "KAFKA_TLS_KEY_FILE", "key").says(joined)
	r.start().says("certificate required")
}

// The key must match the certificate.
func kafkaTLSKeyFile(s *settingTest) {
	r := s.tlsRig(tls.RequireAndVerifyClientCert)
	r.set("KAFKA_TLS", "true")
	r.set("KAFKA_TLS_CA_FILE", "cert")
	r.set("KAFKA_TLS_CERT_FILE", "cert")
	r.start("KAFKA_TLS_KEY_FILE", "key").says(joined)
	r.start("KAFKA_TLS_KEY_FILE", "other-key").refuses("cert and other-key")
}

// tlsRig has a broker with TLS, and the files cert, key, other and other-key.
func (s *settingTest) tlsRig(clients tls.ClientAuthType) *rig {
	s.t.Helper()
	r := s.rig()
	certPEM, keyPEM := s.certificate()
	otherPEM, otherKeyPEM := s.certificate()
	for name, text := range map[string][]byte{"cert": certPEM, "key": keyPEM, "other": otherPEM, "other-key": otherKeyPEM} {
		r.SetFile(name, string(text))
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	r.use(kafkatest.StartFake(s.t, kfake.SeedTopics(1, "in"), kfake.TLS(&tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientAuth: clients, ClientCAs: pool,
	})))
	return r
}

// use replaces the rig's broker with one of the test's own, whose topic is named in.
func (r *rig) use(broker *kafkatest.Broker) {
	r.set("KAFKA_BROKERS", strings.Join(broker.Addrs(), ","))
	r.set("KAFKA_TOPIC", "in")
	r.set("KAFKA_GROUP", "group")
}

// certificate returns a self-signed certificate for 127.0.0.1.
func (s *settingTest) certificate() (certPEM, keyPEM []byte) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		s.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
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
