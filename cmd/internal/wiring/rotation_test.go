package wiring

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"membersync/cmd/internal/wiring/credentials/certtest"
	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
)

// A rotation is a server whose certificate, authority and secrets are replaced, and the files of
// its client.
type rotation struct {
	disk      *disk
	authority *certtest.Authority
	server    *certtest.Switch
	log       lockedBuffer
}

// A lockedBuffer can be read while it is written.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func newRotation(t *testing.T) *rotation {
	t.Helper()
	r := &rotation{disk: &disk{files: map[string]string{}}}
	r.replaceServer(t)
	r.replaceFiles(t, "canary-1")
	return r
}

// replaceServer gives the server a certificate of a new authority, which its clients need, too.
func (r *rotation) replaceServer(t *testing.T) {
	t.Helper()
	r.authority = certtest.NewAuthority(t)
	config := r.authority.Issue(t).Server(t, r.authority)
	if r.server == nil {
		r.server = certtest.NewSwitch(config)
	}
	r.server.Set(config)
}

// replaceFiles gives the client what the server wants now.
func (r *rotation) replaceFiles(t *testing.T, secret string) {
	t.Helper()
	pair := r.authority.Issue(t)
	r.disk.write("ca", string(r.authority.PEM))
	r.disk.write("cert", string(pair.Cert))
	r.disk.write("key", string(pair.Key))
	r.disk.write("secret", secret+"\n")
}

// variables are the TLS settings of a section.
func (r *rotation) variables(section string) []string {
	var all []string
	for _, name := range []string{"ca", "cert", "key"} {
		all = append(all, "MEMBERSYNC_"+section+"_TLS_"+strings.ToUpper(name)+"_FILE="+name)
	}
	return all
}

func (r *rotation) build(t *testing.T, variables ...string) *Parts {
	t.Helper()
	p, err := Build(loadWith(t, r.disk.read, variables...), Env{Log: &r.log, ReadFile: r.disk.read})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// follows wants a connection to work before and after the server and the files are replaced, and to
// fail for its certificate in between. Replace changes the server's secret, and closes connections.
func (r *rotation) follows(t *testing.T, try func() error, replace func(secret string)) {
	t.Helper()
	if err := try(); err != nil {
		t.Fatalf("at the start: %v", err)
	}
	r.replaceServer(t)
	replace("canary-2")
	eventually(t, try, func(err error) bool { return err != nil && strings.Contains(err.Error(), "unknown authority") })
	r.replaceFiles(t, "canary-2")
	eventually(t, try, func(err error) bool { return err == nil })
	if text := r.log.String(); !strings.Contains(text, "changed file read again") || strings.Contains(text, "canary") {
		t.Errorf("log: %s", text)
	}
}

// eventually tries until the result is the wanted one: an open connection may have to end first,
// and files are looked at once a second.
func eventually(t *testing.T, try func() error, wanted func(error) bool) {
	t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if wanted(err) {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("the last result: %v", err)
		}
	}
}

func TestKafkaFollowsItsFiles(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "in"), kfake.EnableSASL(),
		kfake.Superuser("SCRAM-SHA-512", "user", "canary-1"), kfake.Superuser("SCRAM-SHA-256", "admin", "canary-admin"), kfake.TLS(r.server.Config()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	addr := fake.ListenAddrs()[0]
	p := r.build(t, append(r.variables("KAFKA"), "MEMBERSYNC_KAFKA_TLS=true", "MEMBERSYNC_KAFKA_BROKERS="+addr, "MEMBERSYNC_KAFKA_TOPIC=in",
		"MEMBERSYNC_KAFKA_SASL_MECHANISM=SCRAM-SHA-512", "MEMBERSYNC_KAFKA_SASL_USERNAME=user", "MEMBERSYNC_KAFKA_SASL_PASSWORD_FILE=secret",
		"MEMBERSYNC_CRM_BASE_URL=https://crm.test", "MEMBERSYNC_CRM_TOKEN=canary")...)
	transport, ok := p.Kafka.Transport.(*kafka.Transport)
	if !ok {
		t.Fatalf("transport %T", p.Kafka.Transport)
	}
	try := func() error {
		transport.CloseIdleConnections()
		conn, err := p.Dialer.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.ReadPartitions("in"); err != nil {
			return err
		}
		_, err = p.Kafka.ListGroups(t.Context(), &kafka.ListGroupsRequest{})
		return err
	}
	r.follows(t, try, func(secret string) { setSCRAM(t, r, addr, secret) })
}

// setSCRAM changes the password of the user named user.
func setSCRAM(t *testing.T, r *rotation, addr, secret string) {
	t.Helper()
	const iterations = 4096
	salt := []byte(rand.Text())
	salted, err := pbkdf2.Key(sha512.New, secret, salt, iterations, sha512.Size)
	if err != nil {
		t.Fatal(err)
	}
	pair := r.authority.Issue(t).Server(t, nil)
	admin, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.SASL(scram.Auth{User: "admin", Pass: "canary-admin"}.AsSha256Mechanism()),
		kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: r.authority.Pool(), Certificates: pair.Certificates}))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	upsert := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	upsert.Name, upsert.Mechanism, upsert.Iterations, upsert.Salt, upsert.SaltedPassword = "user", 2, iterations, salt, salted
	req.Upsertions = append(req.Upsertions, upsert)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	res, err := req.RequestWith(ctx, admin)
	if err != nil || res.Results[0].ErrorCode != 0 {
		t.Fatalf("changing the password: %+v, %v", res, err)
	}
}

func TestRedisFollowsItsFiles(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"single", "cluster"} {
		r := newRotation(t)
		redis, err := miniredis.RunTLS(r.server.Config())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(redis.Close)
		redis.RequireUserAuth("user", "canary-1")
		p := r.build(t, append(r.variables("REDIS"), "MEMBERSYNC_REDIS_URL=rediss://"+redis.Addr(), "MEMBERSYNC_REDIS_MODE="+mode,
			"MEMBERSYNC_REDIS_USERNAME=user", "MEMBERSYNC_REDIS_PASSWORD_FILE=secret",
			"MEMBERSYNC_CRM_BASE_URL=https://crm.test", "MEMBERSYNC_CRM_TOKEN=canary")...)
		try := func() error { return p.Redis.Ping(t.Context()).Err() }
		r.follows(t, try, func(secret string) {
			redis.Close()
			redis.RequireUserAuth("user", secret) // while nothing listens: it is read without a lock
			if err := redis.StartTLS(r.server.Config()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestCRMFollowsItsFiles(t *testing.T) {
	t.Parallel()
	options := func(secret string) crmapitest.Options {
		return crmapitest.Options{
			CorpID: "C1", Tokens: []string{secret}, Members: []string{"FSUID_TEST0001"},
			AppID: "A1", AppSecret: secret, PermanentCode: secret,
		}
	}
	for name, variables := range map[string][]string{
		"fixed":   {"MEMBERSYNC_CRM_TOKEN_FILE=secret"},
		"fetched": {"MEMBERSYNC_CRM_APP_ID=A1", "MEMBERSYNC_CRM_APP_SECRET_FILE=secret", "MEMBERSYNC_CRM_PERMANENT_CODE_FILE=secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRotation(t)
			var current atomic.Pointer[crmapitest.Server]
			current.Store(crmapitest.New(options("canary-1")))
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				current.Load().ServeHTTP(w, req)
			}))
			server.TLS, server.Config.ErrorLog = r.server.Config(), log.New(io.Discard, "", 0)
			server.StartTLS()
			t.Cleanup(server.Close)
			p := r.build(t, append(append(r.variables("CRM"), variables...), "MEMBERSYNC_CRM_BASE_URL="+server.URL)...)
			update := crmapi.Update{OpenUserID: "FSUID_TEST0001"}.With(crmapi.Position, crmapi.Text("Sample Position"))
			try := func() error {
				_, err := p.CRM.Modify(t.Context(), crmapi.Call{Update: update})
				if e, ok := errors.AsType[*crmapi.Error](err); ok {
					return errors.Join(append(e.Unwrap(), err)...)
				}
				return err
			}
			r.follows(t, try, func(secret string) {
				current.Store(crmapitest.New(options(secret)))
				server.CloseClientConnections()
			})
		})
	}
}
