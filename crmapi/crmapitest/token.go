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

// issue returns a token: the newest one again until it is TokenRenew old, then a new one.
func (s *Server) issue(body []byte) response {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.issueLocked(body, time.Now())
	return response{code: a.Code, status: http.StatusOK, token: &a}
}

// issueLocked does the same at a given time. The caller must hold mu.
func (s *Server) issueLocked(body []byte, now time.Time) tokenResponse {
	if code := s.checkTokenRateLocked(now); code != CodeSuccess {
		return tokenResponse{Code: code}
	}
	var req tokenRequest
	if json.Unmarshal(body, &req, json.RejectUnknownMembers(true)) != nil {
		s.violations = append(s.violations, "malformed token request")
		return tokenResponse{Code: CodeMalformed}
	}
	switch {
	case req.AppID != s.opts.AppID || req.AppSecret != s.opts.AppSecret:
		return tokenResponse{Code: CodeSecret}
	case req.PermanentCode != s.opts.PermanentCode:
		return tokenResponse{Code: CodePermanent}
	}
	newest := len(s.tokens) - 1
	if newest < 0 || now.Sub(s.tokens[newest].issued) >= s.opts.TokenRenew {
		s.tokens = append(s.tokens, token{text: "TOKEN_" + rand.Text(), issued: now})
		newest++
	}
	t := s.tokens[newest]
	lifetime := s.opts.TokenLife - now.Sub(t.issued)
	return tokenResponse{Token: t.text, Corp: s.opts.CorpID, Life: int64(lifetime / time.Second)}
}

// checkTokenRateLocked checks the vendor's limits for token fetches: ten calls per minute, and
// never two concurrently. The caller must hold mu.
func (s *Server) checkTokenRateLocked(now time.Time) int {
	s.tokenCalls = append(recent(s.tokenCalls, now, time.Minute), now)
	switch {
	case len(s.tokenCalls) > tokenCallsAMinute:
		s.violations = append(s.violations, "more than 10 token fetches per minute")
	case s.openFetchesLocked() > 1:
		s.violations = append(s.violations, "two concurrent token fetches")
	default:
		return CodeSuccess
	}
	return CodePerSecond
}

// openFetchesLocked returns the number of token fetches whose clients are still waiting. The caller
// must hold mu.
func (s *Server) openFetchesLocked() int {
	n := 0
	for _, e := range s.open[""] {
		if e.seen.Endpoint == EndpointToken && !e.gone() {
			n++
		}
	}
	return n
}

// isValidTokenLocked reports whether a token is accepted at a time. The caller must hold mu.
func (s *Server) isValidTokenLocked(text string, now time.Time) bool {
	if slices.Contains(s.opts.Tokens, text) {
		return true
	}
	return slices.ContainsFunc(s.tokens, func(t token) bool {
		return t.text == text && now.Sub(t.issued) < s.opts.TokenLife
	})
}

// RevokeTokens makes all issued tokens invalid. The next fetch returns a new one.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = nil
}
