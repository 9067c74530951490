package crmapitest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// A token that was handed out.
type token struct {
	text   string
	issued time.Time
}

type tokenRequest struct {
	AppID         string `json:"appId"`
	AppSecret     string `json:"appSecret"`
	PermanentCode string `json:"permanentCode"`
}

type tokenAnswer struct {
	Code    int    `json:"errorCode"`
	Message string `json:"errorMessage"`
	Token   string `json:"corpAccessToken,omitempty"`
	Corp    string `json:"corpId,omitempty"`
	Life    int64  `json:"expiresIn"` // seconds
}

// issue hands out a token: the newest one again while it is young, then a new one.
func (s *Server) issue(body []byte) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.issueAt(body, time.Now())
	return answer{code: a.Code, status: http.StatusOK, token: &a}
}

func (s *Server) issueAt(body []byte, now time.Time) tokenAnswer {
	if code := s.tokenRules(now); code != CodeSuccess {
		return tokenAnswer{Code: code}
	}
	var req tokenRequest
	if json.Unmarshal(body, &req, json.RejectUnknownMembers(true)) != nil {
		s.violations = append(s.violations, "malformed token request")
		return tokenAnswer{Code: CodeMalformed}
	}
	switch {
	case req.AppID != s.opts.AppID || req.AppSecret != s.opts.AppSecret:
		return tokenAnswer{Code: CodeSecret}
	case req.PermanentCode != s.opts.PermanentCode:
		return tokenAnswer{Code: CodePermanent}
	}
	newest := len(s.tokens) - 1
	if newest < 0 || now.Sub(s.tokens[newest].issued) >= s.opts.TokenRenew {
		s.tokens = append(s.tokens, token{text: "TOKEN_" + rand.Text(), issued: now})
		newest++
	}
	t := s.tokens[newest]
	life := s.opts.TokenLife - now.Sub(t.issued)
	return tokenAnswer{Token: t.text, Corp: s.opts.CorpID, Life: int64(life / time.Second)}
}

// tokenRules keeps the vendor's: ten calls a minute, and no two at once.
func (s *Server) tokenRules(now time.Time) int {
	s.tokenCalls = append(within(s.tokenCalls, now, time.Minute), now)
	switch {
	case len(s.tokenCalls) > tokenCallsAMinute:
		s.violations = append(s.violations, "more than 10 token fetches a minute")
	case s.fetchesOpen() > 1:
		s.violations = append(s.violations, "two token fetches at once")
	default:
		return CodeSuccess
	}
	return CodePerSecond
}

func (s *Server) fetchesOpen() int {
	n := 0
	for _, e := range s.open[""] {
		if e.seen.Endpoint == EndpointToken && !e.gone() {
			n++
		}
	}
	return n
}

func (s *Server) validToken(text string, now time.Time) bool {
	if slices.Contains(s.opts.Tokens, text) {
		return true
	}
	return slices.ContainsFunc(s.tokens, func(t token) bool {
		return t.text == text && now.Sub(t.issued) < s.opts.TokenLife
	})
}

// RevokeTokens makes every token that was handed out invalid; the next fetch brings a new one.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = nil
}
