package settings_test

import (
	"bytes"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/cmd/internal/wiring/credentials/certtest"
)

func redisTLSTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"REDIS_TLS_CA_FILE": redisTLSCAFile, "REDIS_TLS_CERT_FILE": redisTLSCertFile, "REDIS_TLS_KEY_FILE": redisTLSKeyFile,
		"REDIS_TLS_SERVER_NAME": redisTLSServerName, "REDIS_SENTINEL_USERNAME": redisSentinelUsername,
		"REDIS_SENTINEL_PASSWORD": redisSentinelPassword(byVariable), "REDIS_SENTINEL_PASSWORD_FILE": redisSentinelPassword(byFile),
	}
}

// redisTLSRig has a Redis with TLS.
func (s *settingTest) redisTLSRig(clients bool, changes ...func(*x509.Certificate)) *rig {
	s.t.Helper()
	r := s.rig()
	secure, err := miniredis.RunTLS(r.tlsServer(clients, changes...))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(secure.Close)
	r.set("REDIS_URL", "rediss://"+secure.Addr())
	return r
}

// Redis' certificate is verified with the file's.
func redisTLSCAFile(s *settingTest) {
	r := s.redisTLSRig(false)
	r.start("REDIS_TLS_CA_FILE", "ca").says(joined)
	r.start("REDIS_TLS_CA_FILE", "other-ca").says("set MEMBERSYNC_REDIS_TLS_CA_FILE")
}

// A Redis that requires a client certificate gets one.
func redisTLSCertFile(s *settingTest) {
	r := s.redisTLSRig(true)
	r.set("REDIS_TLS_CA_FILE", "ca")
	r.start("REDIS_TLS_CERT_FILE", "cert", "REDIS_TLS_KEY_FILE", "key").says(joined)
	r.start().says("set MEMBERSYNC_REDIS_TLS_CERT_FILE")
}

// The key must match the certificate.
func redisTLSKeyFile(s *settingTest) {
	r := s.redisTLSRig(true)
	r.set("REDIS_TLS_CA_FILE", "ca")
	r.set("REDIS_TLS_CERT_FILE", "cert")
	r.start("REDIS_TLS_KEY_FILE", "key").says(joined)
	r.start("REDIS_TLS_KEY_FILE", "other-key").refuses("MEMBERSYNC_REDIS_TLS_CERT_FILE: does not go with MEMBERSYNC_REDIS_TLS_KEY_FILE")
}

// The name in Redis' certificate differs from its address.
func redisTLSServerName(s *settingTest) {
	r := s.redisTLSRig(false, certtest.Named("redis.test"))
	r.set("REDIS_TLS_CA_FILE", "ca")
	r.start("REDIS_TLS_SERVER_NAME", "redis.test").says(joined)
	r.start().says("set MEMBERSYNC_REDIS_TLS_SERVER_NAME")
}

// sentinelRig has a sentinel that names its master only to clients that log in.
func (s *settingTest) sentinelRig(login ...string) *rig {
	s.t.Helper()
	r := s.rig()
	master := miniredis.RunT(s.t)
	var mu sync.Mutex
	loggedIn := make(map[*server.Peer]bool)
	r.Redis.RequireUserAuth("user", "canary")
	r.Redis.RequireAuth("canary")
	r.Redis.Server().SetPreHook(func(c *server.Peer, command string, args ...string) bool {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case command == "AUTH" || command == "HELLO" && len(args) >= len(login):
			loggedIn[c] = slices.Equal(args[len(args)-len(login):], login)
		case command == "SENTINEL" && !loggedIn[c]:
			c.WriteError("NOAUTH Authentication required.")
			return true
		case command == "SENTINEL" && len(args) == 2 && strings.EqualFold(args[0], "get-master-addr-by-name"):
			c.WriteStrings([]string{master.Host(), master.Port()})
			return true
		case command == "SENTINEL": // no other sentinels, no replicas
			c.WriteLen(0)
			return true
		}
		return false
	})
	r.set("REDIS_MODE", "sentinel")
	return r
}

// The sentinel knows only one user.
func redisSentinelUsername(s *settingTest) {
	r := s.sentinelRig("user", "canary")
	r.set("REDIS_SENTINEL_PASSWORD", "canary")
	r.start("REDIS_SENTINEL_USERNAME", "user").says(joined)
	r.start("REDIS_SENTINEL_USERNAME", "unknown").refuses("WRONGPASS")
}

// The password must be the sentinel's own.
func redisSentinelPassword(set setter) func(*settingTest) {
	return func(s *settingTest) {
		right, bad := s.sentinelRig("canary"), s.sentinelRig("canary")
		set(right, "REDIS_SENTINEL_PASSWORD", "canary")
		set(bad, "REDIS_SENTINEL_PASSWORD", wrong)
		right.start().says(joined)
		bad.start().refuses("WRONGPASS")
	}
}

func crmTLSTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"CRM_TLS_CA_FILE": crmTLSCAFile, "CRM_TLS_CERT_FILE": crmTLSCertFile, "CRM_TLS_KEY_FILE": crmTLSKeyFile,
		"CRM_TLS_SERVER_NAME": crmTLSServerName, "CRM_PROXY": crmProxy, "ALLOW_PLAINTEXT": allowPlaintext,
	}
}

// crmTLSRig has a CRM with TLS, and an event. The function waits until a client's handshake failed.
func (s *settingTest) crmTLSRig(clients bool, changes ...func(*x509.Certificate)) (r *rig, failed func()) {
	s.t.Helper()
	r = s.rig()
	handshakes := &servicetest.Output{}
	secure := httptest.NewUnstartedServer(r.CRM)
	secure.TLS, secure.Config.ErrorLog = r.tlsServer(clients, changes...), log.New(handshakes, "", 0)
	secure.StartTLS()
	s.t.Cleanup(secure.Close)
	r.set("CRM_BASE_URL", secure.URL)
	r.produce(r.title("ev", 1))
	return r, func() {
		s.t.Helper()
		s.eventually("a failed handshake", func() bool { return strings.Contains(handshakes.String(), "TLS handshake error") })
		wantCalls(r, 0)
	}
}

// The CRM's certificate is verified with the file's.
func crmTLSCAFile(s *settingTest) {
	r, failed := s.crmTLSRig(false)
	bad := r.start("CRM_TLS_CA_FILE", "other-ca")
	failed()
	bad.Stop()
	r.start("CRM_TLS_CA_FILE", "ca").applies("ev")
}

// A CRM that requires a client certificate gets one.
func crmTLSCertFile(s *settingTest) {
	r, failed := s.crmTLSRig(true)
	r.set("CRM_TLS_CA_FILE", "ca")
	bad := r.start()
	failed()
	bad.Stop()
	r.start("CRM_TLS_CERT_FILE", "cert", "CRM_TLS_KEY_FILE", "key").applies("ev")
}

// The key must match the certificate.
func crmTLSKeyFile(s *settingTest) {
	r, _ := s.crmTLSRig(true)
	r.set("CRM_TLS_CA_FILE", "ca")
	r.set("CRM_TLS_CERT_FILE", "cert")
	r.start("CRM_TLS_KEY_FILE", "key").applies("ev")
	r.start("CRM_TLS_KEY_FILE", "other-key").refuses("MEMBERSYNC_CRM_TLS_CERT_FILE: does not go with MEMBERSYNC_CRM_TLS_KEY_FILE")
}

// The name in the CRM's certificate differs from its address.
func crmTLSServerName(s *settingTest) {
	r, failed := s.crmTLSRig(false, certtest.Named("crm.test"))
	r.set("CRM_TLS_CA_FILE", "ca")
	bad := r.start()
	failed()
	bad.Stop()
	r.start("CRM_TLS_SERVER_NAME", "crm.test").applies("ev")
}

// Calls and token requests go through the proxy, which requires a login.
func crmProxy(s *settingTest) {
	direct, via := s.rig(), s.rig()
	var requests atomic.Int64
	proxy := servicetest.Serve(s.t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth(); user != "user" || password != "canary" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		requests.Add(1)
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		via.CRM.ServeHTTP(w, r)
	}))
	direct.produce(direct.title("ev", 1))
	via.produce(via.title("ev", 1))
	via.unset("CRM_TOKEN")
	via.set("CRM_APP_ID", "APP_TEST")
	via.set("CRM_APP_SECRET", "canary-secret")
	via.set("CRM_PERMANENT_CODE", "canary-code")
	direct.start().applies("ev")
	via.start("CRM_BASE_URL", "http://127.0.0.1:1", "CRM_PROXY", strings.Replace(proxy, "http://", "http://user:canary@", 1)).applies("ev")
	if n := requests.Load(); n != 2 {
		s.t.Errorf("%d requests through the proxy, want a token fetch and a call", n)
	}
}

// A token is not sent to another host in plain text, unless that is allowed.
func allowPlaintext(s *settingTest) {
	r := s.rig()
	r.set("CRM_BASE_URL", "http://crm.invalid")
	r.start().refuses("MEMBERSYNC_CRM_BASE_URL: the access token")
	r.start("ALLOW_PLAINTEXT", "true").says(joined)
}
