package settings_test

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/dlq/kafkatest"
)

func bearerTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"KAFKA_SASL_TOKEN_URL": saslTokenURL, "KAFKA_SASL_CLIENT_ID": saslClientID,
		"KAFKA_SASL_CLIENT_SECRET": saslClientSecret(byVariable), "KAFKA_SASL_CLIENT_SECRET_FILE": saslClientSecret(byFile),
	}
}

// An issuer issues tokens to one client, at /token. Brokers accept them until they expire.
type issuer struct {
	lifetime time.Duration
	mu       sync.Mutex // guards the fields below
	expiry   map[string]time.Time
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	user, secret, _ := r.BasicAuth()
	switch {
	case r.URL.Path != "/token" || r.FormValue("grant_type") != "client_credentials":
		w.WriteHeader(http.StatusNotFound)
	case user != "client" || secret != "canary":
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprint(w, `{"error":"invalid_client","error_description":"canary-wrong"}`)
	default:
		i.mu.Lock()
		defer i.mu.Unlock()
		token := fmt.Sprintf("canary-%d", len(i.expiry)+1)
		i.expiry[token] = time.Now().Add(i.lifetime)
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":%d}`, token, int(i.lifetime.Seconds()))
	}
}

// valid returns when a token expires; the zero time: it was not issued, or has expired.
func (i *issuer) valid(token string) time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	if until := i.expiry[token]; time.Now().Before(until) {
		return until
	}
	return time.Time{}
}

func (i *issuer) issued() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.expiry)
}

// A bearerBroker does what Kafka does with OAUTHBEARER, which the fake lacks: it closes a
// connection that is used after its token has expired (KIP-368).
type bearerBroker struct {
	*kafkatest.Broker

	issuer *issuer
	killed atomic.Int64 // connections that were closed for that
}

// login makes a fake broker that asks for no login, so that the test's own clients need none,
// answer those who log in. Respond returns the response to a client's message, and whether it is
// right.
func login(fake *kfake.Cluster, respond func(message []byte) (response []byte, ok bool)) {
	fake.ControlKey(int16(kmsg.SASLHandshake), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		res := kmsg.NewPtrSASLHandshakeResponse()
		res.Version = req.GetVersion()
		return res, nil, true
	})
	fake.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		res := kmsg.NewPtrSASLAuthenticateResponse()
		res.Version = req.GetVersion()
		auth, ok := req.(*kmsg.SASLAuthenticateRequest)
		if ok {
			res.SASLAuthBytes, ok = respond(auth.SASLAuthBytes)
		}
		if !ok {
			res.ErrorCode = kerr.SaslAuthenticationFailed.Code
		}
		return res, nil, true
	})
}

// bearerRig has a broker that accepts the tokens of an issuer.
func (s *settingTest) bearerRig(lifetime time.Duration) (*rig, *bearerBroker) {
	s.t.Helper()
	r := s.rig()
	b := &bearerBroker{issuer: &issuer{lifetime: lifetime, expiry: make(map[string]time.Time)}}
	b.Broker = kafkatest.StartFake(s.t, kfake.SeedTopics(1, "in"), kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := new(net.ListenConfig).Listen(s.t.Context(), network, address)
		return bearerListener{l, b}, err
	}))
	login(b.Fake(), func(message []byte) ([]byte, bool) {
		switch {
		case string(message) == "\x01":
			return nil, false
		case b.issuer.valid(bearerToken(message)).IsZero():
			return []byte(`{"status":"invalid_token"}`), true
		default:
			return nil, true
		}
	})
	r.use(b.Broker)
	r.set("KAFKA_SASL_MECHANISM", "OAUTHBEARER")
	r.set("KAFKA_SASL_TOKEN_URL", servicetest.Serve(s.t, b.issuer)+"/token")
	r.set("KAFKA_SASL_CLIENT_ID", "client")
	r.set("KAFKA_SASL_CLIENT_SECRET", "canary")
	return r, b
}

// bearerToken returns the token in a client's first message, as RFC 7628, section 3.1 writes it.
func bearerToken(message []byte) string {
	match := regexp.MustCompile("n,,\x01auth=Bearer ([^\x01]+)\x01\x01").FindSubmatch(message)
	if match == nil {
		return ""
	}
	return string(match[1])
}

type bearerListener struct {
	net.Listener

	broker *bearerBroker
}

// Accept implements net.Listener.
func (l bearerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &bearerConn{Conn: c, broker: l.broker}, nil
}

type bearerConn struct {
	net.Conn

	broker *bearerBroker
	until  time.Time // when its token expires; the zero time: it has none
}

// Read implements net.Conn. Only one goroutine reads.
func (c *bearerConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if token := bearerToken(p[:n]); token != "" {
		c.until = c.broker.issuer.valid(token)
	}
	if n > 0 && !c.until.IsZero() && time.Now().After(c.until) {
		c.broker.killed.Add(1)
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// The token comes from the configured URL.
func saslTokenURL(s *settingTest) {
	r, _ := s.bearerRig(time.Hour)
	r.start().says(joined)
	r.start("KAFKA_SASL_TOKEN_URL", r.Variables["KAFKA_SASL_TOKEN_URL"]+"/elsewhere").refuses("MEMBERSYNC_KAFKA_SASL_TOKEN_URL: no access token: HTTP 404")
}

// The endpoint knows only one client.
func saslClientID(s *settingTest) {
	r, _ := s.bearerRig(time.Hour)
	r.start().says(joined)
	r.start("KAFKA_SASL_CLIENT_ID", "unknown").refuses("HTTP 401, invalid_client")
}

// The secret must be the client's.
func saslClientSecret(set setter) func(*settingTest) {
	return func(s *settingTest) {
		right, _ := s.bearerRig(time.Hour)
		bad, _ := s.bearerRig(time.Hour)
		set(right, "KAFKA_SASL_CLIENT_SECRET", "canary")
		set(bad, "KAFKA_SASL_CLIENT_SECRET", wrong)
		right.start().says(joined)
		bad.start().refuses("HTTP 401, invalid_client")
	}
}

// A broker that rejects a valid token ends the start.
func TestTokenRefused(t *testing.T) {
	t.Parallel()
	s := &settingTest{t, kafkatest.StartFake(t)}
	r, b := s.bearerRig(time.Hour)
	b.issuer.lifetime = 0 // at the broker
	r.set("KAFKA_SASL_TOKEN_URL", servicetest.Serve(s.t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"access_token":"canary-of-another-issuer","expires_in":3600}`)
	}))+"/token")
	r.start().refuses("SASL Authentication Failed")
}

// The service outlives its tokens: the broker closes connections whose token has expired, and new
// ones have new tokens. Nothing is lost, and nothing is called twice.
func TestTokensExpire(t *testing.T) {
	t.Parallel()
	s := &settingTest{t, kafkatest.StartFake(t)}
	r, b := s.bearerRig(2 * time.Second)
	p := r.start()
	p.says(joined)
	sent := 0
	for b.issuer.issued() < 5 {
		sent++
		id := fmt.Sprintf("ev-%d", sent)
		b.Produce(t, "in", r.title(id, sent))
		p.applies(id)
	}
	// The group's connection is closed by the broker; all others end before their token does.
	if n := b.killed.Load(); n == 0 || n > int64(b.issuer.issued()) {
		t.Errorf("%d connections were closed for their tokens, want one for each at most", n)
	}
	wantCalls(r, sent)
	p.Stop()
	t.Logf("%d events, %d tokens, %d connections closed by the broker", sent, b.issuer.issued(), b.killed.Load())
}
