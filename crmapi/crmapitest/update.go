package crmapitest

import (
	stdjson "encoding/json"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// An updateRequest is the body of an update. Unknown names are rejected.
type updateRequest struct {
	Token *string        `json:"corpAccessToken"`
	Corp  *string        `json:"corpId"`
	User  jsontext.Value `json:"user"`
}

// An objectRequest is the body of an update for the object API.
type objectRequest struct {
	Token *string `json:"corpAccessToken"`
	Corp  *string `json:"corpId"`
	Data  struct {
		Object jsontext.Value `json:"object_data"`
	} `json:"data"`
}

type fields = map[string]jsontext.Value

// updateLocked checks a request as strictly as the API's page allows, applies it, and returns the
// errorCode. The caller must hold mu.
func (s *Server) updateLocked(r *http.Request, body []byte) int {
	if !s.allowCallLocked(time.Now()) {
		return CodeThrottled
	}
	req, ok := s.parse(body)
	if !ok {
		s.violations = append(s.violations, "malformed update")
		return CodeMalformed
	}
	switch {
	case !s.isNewTraceLocked(r):
		s.violations = append(s.violations, "thirdTraceId missing or used before")
		return CodeBadTrace
	case req.Token == nil || !s.isValidTokenLocked(*req.Token, time.Now()):
		return CodeToken
	case req.Corp == nil || *req.Corp != s.opts.CorpID:
		return CodeCorp
	}
	var user fields
	if len(req.User) == 0 || json.Unmarshal(req.User, &user) != nil {
		return CodeMissing
	}
	if s.opts.ObjectAPI {
		if user, ok = fromObject(user); !ok {
			return CodeType
		}
	}
	return s.modifyLocked(user)
}

// parse reads the body of the API that the fake has, and rejects the body of the other API.
func (s *Server) parse(body []byte) (req updateRequest, ok bool) {
	if !s.opts.ObjectAPI {
		return req, json.Unmarshal(body, &req, json.RejectUnknownMembers(true)) == nil
	}
	var object objectRequest
	err := json.Unmarshal(body, &object, json.RejectUnknownMembers(true))
	return updateRequest{object.Token, object.Corp, object.Data.Object}, err == nil
}

// modifyLocked checks and applies a user object, and returns the errorCode. The caller must hold
// mu.
func (m *MemberStore) modifyLocked(user fields) int {
	id, isText := text(user["openUserId"])
	delete(user, "openUserId")
	if !isText || id == "" || len(user) == 0 {
		return CodeMissing
	}
	for name, value := range user {
		if code := checkField(name, value); code != CodeSuccess {
			return code
		}
	}
	if _, ok := m.members[id]; !ok && !m.opts.AutoCreate {
		return CodeNoMember
	}
	if !m.departmentsExist(user) {
		return CodeNoDepartment
	}
	if m.isTakenLocked(id, user) {
		return m.opts.DuplicateCode
	}
	m.applyLocked(id, user)
	return CodeSuccess
}

// allowCallLocked counts a call against the rate limit. A call that is refused does not count. The
// caller must hold mu.
func (s *Server) allowCallLocked(now time.Time) bool {
	if s.opts.RateLimit == 0 {
		return true
	}
	s.calls = recent(s.calls, now, s.opts.RateWindow)
	if len(s.calls) >= s.opts.RateLimit {
		return false
	}
	s.calls = append(s.calls, now)
	return true
}

// isNewTraceLocked reports whether the query has only a thirdTraceId that was not used before. It
// records the ID. The caller must hold mu.
func (s *Server) isNewTraceLocked(r *http.Request) bool {
	query := r.URL.Query()
	id := query.Get("thirdTraceId")
	if len(query) != 1 || len(query["thirdTraceId"]) != 1 || id == "" || s.traces[id] {
		return false
	}
	s.traces[id] = true
	return true
}

// checkField checks the value of one field and returns an errorCode.
func checkField(name string, value jsontext.Value) int {
	switch name {
	case "position", "email", "qq", "weixin":
		return checkText(value, func(string) bool { return true })
	case "account", "name", "fullName", "mobile", "employeeNumber", "leaderId":
		return checkText(value, func(s string) bool { return s != "" })
	case "gender":
		return checkText(value, func(s string) bool { return s == "M" || s == "F" })
	case "hireDate", "birthDate", "startWorkDate":
		return checkText(value, isDecimal)
	case "mainDepartmentId":
		return checkInts([]jsontext.Value{value})
	case "attachingDepartmentIds":
		var list []jsontext.Value
		if value.Kind() != '[' || json.Unmarshal(value, &list) != nil {
			return CodeType
		}
		return checkInts(list)
	}
	return CodeType
}

// checkText checks the type and the rule of a text and returns an errorCode.
func checkText(value jsontext.Value, rule func(string) bool) int {
	s, ok := text(value)
	if !ok {
		return CodeType
	}
	if !rule(s) {
		return CodeRule
	}
	return CodeSuccess
}

// isDecimal reports whether s is an integer in canonical form: no plus sign and no leading zero.
func isDecimal(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == s
}

// checkInts checks a list of department IDs and returns an errorCode.
func checkInts(list []jsontext.Value) int {
	if len(list) > maxDepartments {
		return CodeRule
	}
	for _, v := range list {
		n, ok := integer(v)
		if !ok {
			return CodeType
		}
		if n < 0 {
			return CodeRule
		}
	}
	return CodeSuccess
}

// departmentsExist reports whether the departments of a checked update exist.
func (m *MemberStore) departmentsExist(user fields) bool {
	var ids []int64
	if list := user["attachingDepartmentIds"]; list != nil {
		_ = json.Unmarshal(list, &ids) // checkField has checked it
	}
	if main, ok := integer(user["mainDepartmentId"]); ok {
		ids = append(ids, main)
	}
	return m.departments == nil || !slices.ContainsFunc(ids, func(id int64) bool { return !m.departments[id] })
}

// parseMember returns the user object and the member of a request with any content. It translates
// an object_data to a user object, so that a reader of the log need not know which API it was.
func (l *RequestLog) parseMember(body []byte) (user stdjson.RawMessage, id string) {
	var req struct {
		User jsontext.Value `json:"user"`
		Data struct {
			Object jsontext.Value `json:"object_data"`
		} `json:"data"`
	}
	var member fields
	if json.Unmarshal(body, &req) != nil {
		return nil, ""
	}
	if l.opts.ObjectAPI {
		var ok bool
		if json.Unmarshal(req.Data.Object, &member) != nil {
			return nil, ""
		}
		if member, ok = fromObject(member); !ok {
			return nil, ""
		}
		req.User, _ = json.Marshal(member, json.Deterministic(true)) // the values are valid JSON
	} else if len(req.User) == 0 || json.Unmarshal(req.User, &member) != nil {
		return nil, ""
	}
	id, _ = text(member["openUserId"])
	return stdjson.RawMessage(req.User), id
}

// text returns the text of a JSON string, and whether v is one.
func text(v jsontext.Value) (string, bool) {
	var s string
	if len(v) == 0 || v.Kind() != '"' || json.Unmarshal(v, &s) != nil {
		return "", false
	}
	return s, true
}

// integer returns the value of a JSON integer, and whether v is one.
func integer(v jsontext.Value) (int64, bool) {
	var n int64
	if len(v) == 0 || v.Kind() != '0' || json.Unmarshal(v, &n) != nil {
		return 0, false
	}
	return n, true
}

// isJSON reports whether a content type is JSON.
func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && kind == "application/json"
}

// recent returns the times that are less than a window before now.
func recent(times []time.Time, now time.Time, window time.Duration) []time.Time {
	return slices.DeleteFunc(times, func(t time.Time) bool { return now.Sub(t) >= window })
}
