package secured

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

const (
	issuerName, audience   = "https://issuer.test", "kafka-of-the-test"
	clientID, clientSecret = "membersync-client", "made-up-secret-of-the-client"
	keyID                  = "1"
	// tokenLifetime is short, so that several tokens expire during the test.
	tokenLifetime = 5 * time.Second
)

// An issuer issues access tokens to one client (RFC 6749, section 4.4), as JWTs with RS256
// (RFC 7519, RFC 7518), and publishes its key (RFC 7517).
type issuer struct {
	key               *rsa.PrivateKey
	tokenURL, keysURL string
	issued            atomic.Int64
}

func startIssuer(t *testing.T, h *host) *issuer {
	t.Helper()
	i := &issuer{key: newRSAKey(t)}
	keys := httptest.NewServer(http.HandlerFunc(i.serveKeys)) // Kafka would need a truststore for TLS
	t.Cleanup(keys.Close)
	i.keysURL = keys.URL + "/keys"
	i.tokenURL = h.serveTLS(t, http.HandlerFunc(i.serveToken)) + "/token"
	return i
}

func newRSAKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (i *issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":%q,"n":%q,"e":%q}]}`, keyID,
		base64.RawURLEncoding.EncodeToString(i.key.N.Bytes()),
		base64.RawURLEncoding.EncodeToString(big.NewInt(int64(i.key.E)).Bytes()))
}

// serveToken issues a token to the client. Its user at Kafka is the client.
func (i *issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	user, secret, _ := r.BasicAuth()
	if user != clientID || secret != clientSecret || r.FormValue("grant_type") != "client_credentials" {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprint(w, `{"error":"invalid_client"}`)
		return
	}
	i.issued.Add(1)
	token, err := sign(i.key)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":%d}`, token, int(tokenLifetime.Seconds()))
}

// sign returns a token for the client.
func sign(key *rsa.PrivateKey) (token string, err error) {
	now := time.Now()
	for _, part := range []map[string]any{
		{"alg": "RS256", "typ": "JWT", "kid": keyID},
		{"iss": issuerName, "aud": audience, "sub": clientID, "iat": now.Unix(), "exp": now.Add(tokenLifetime).Unix()},
	} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		token += "." + base64.RawURLEncoding.EncodeToString(text)
	}
	token = token[1:]
	digest := sha256.Sum256([]byte(token))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	return token + "." + base64.RawURLEncoding.EncodeToString(signature), err
}
