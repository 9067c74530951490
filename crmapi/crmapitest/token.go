package crmapitest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// A token is an access token that was issued.
type token struct {
	text   string
	issued time.Time
}

type tokenRequest struct {
	AppID         string `json:"appId"`
	AppSecret     string `json:"appSecret"`
	PermanentCode string `json:"permanentCode"`
}

type tokenResponse struct {
	Code    int    `json:"errorCode"`
	Message string `json:"errorMessage"`
	Token   string `json:"corpAccessToken,omitempty"`
	Corp    string `json:"corpId,omitempty"`
	Life    int64  `json:"expiresIn"` // seconds
}

// A TokenIssuer is the token API of the fake. It is safe for concurrent use.
type TokenIssuer struct {
	*core
	requests   *RequestLog
	tokens     []token
	tokenCalls []time.Time // within a minute
}

// issue returns a token: the newest one again until it is TokenRenew old, then a new one.
func (t *TokenIssuer) issue(body []byte) response {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.issueLocked(body, time.Now())
	return response{code: a.Code, status: http.StatusOK, token: &a}
}

// issueLocked does the same at a given time. The caller must hold mu.
func (t *TokenIssuer) issueLocked(body []byte, now time.Time) tokenResponse {
	if code := t.checkTokenRateLocked(now); code != CodeSuccess {
		return tokenResponse{Code: code}
	}
	var req tokenRequest
	if json.Unmarshal(body, &req, json.RejectUnknownMembers(true)) != nil {
		t.violations = append(t.violations, "malformed token request")
		return tokenResponse{Code: CodeMalformed}
	}
	switch {
	case req.AppID != t.opts.AppID || req.AppSecret != t.opts.AppSecret:
		return tokenResponse{Code: CodeSecret}
	case req.PermanentCode != t.opts.PermanentCode:
		return tokenResponse{Code: CodePermanent}
	}
	newest := len(t.tokens) - 1
	if newest < 0 || now.Sub(t.tokens[newest].issued) >= t.opts.TokenRenew {
		t.tokens = append(t.tokens, token{text: "TOKEN_" + rand.Text(), issued: now})
		newest++
	}
	latest := t.tokens[newest]
	lifetime := t.opts.TokenLife - now.Sub(latest.issued)
	return tokenResponse{Token: latest.text, Corp: t.opts.CorpID, Life: int64(lifetime / time.Second)}
}

// checkTokenRateLocked checks the vendor's limits for token fetches: ten calls per minute, and
// never two concurrently. The caller must hold mu.
func (t *TokenIssuer) checkTokenRateLocked(now time.Time) int {
	t.tokenCalls = append(recent(t.tokenCalls, now, time.Minute), now)
	switch {
	case len(t.tokenCalls) > tokenCallsAMinute:
		t.violations = append(t.violations, "more than 10 token fetches per minute")
	case t.openFetchesLocked() > 1:
		t.violations = append(t.violations, "two concurrent token fetches")
	default:
		return CodeSuccess
	}
	return CodePerSecond
}

// openFetchesLocked returns the number of token fetches whose clients are still waiting. The caller
// must hold mu.
func (t *TokenIssuer) openFetchesLocked() int {
	n := 0
	for _, e := range t.requests.open[""] {
		if e.seen.Endpoint == EndpointToken && !e.gone() {
			n++
		}
	}
	return n
}

// isValidTokenLocked reports whether a token is accepted at a time. The caller must hold mu.
func (t *TokenIssuer) isValidTokenLocked(text string, now time.Time) bool {
	if slices.Contains(t.opts.Tokens, text) {
		return true
	}
	return slices.ContainsFunc(t.tokens, func(one token) bool {
		return one.text == text && now.Sub(one.issued) < t.opts.TokenLife
	})
}

// RevokeTokens makes all issued tokens invalid. The next fetch returns a new one.
func (t *TokenIssuer) RevokeTokens() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tokens = nil
}
