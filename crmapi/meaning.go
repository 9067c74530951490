package crmapi

import (
	"strconv"
	"strings"
)

// Meaning returns what an errorCode of the published table means, in a few words; empty if the code
// is not published. Source: the error codes of the API's documentation.
func Meaning(code int) string {
	switch code {
	case 0:
		return "success"
	case -1, -2:
		return "system error"
	case 10001, 10002, 10003, 10004, 10005, 10007, 10008, 10009, 10010, 10011, 10012, 10013, 10014, 10015,
		12004, 15002, 32000:
		return "invalid parameter"
	case 10006:
		return "corpId not found"
	case 14001:
		return "call limit exceeded"
	case 15003:
		return "no permission"
	case 20005, 20016:
		return "access token missing or expired"
	case 20006:
		return "invalid app id or secret"
	case 20012:
		return "member not found"
	case 20014, 20020, 20021, 20022, 20023:
		return "app disabled or not authorized"
	case 20015, 20017:
		return "invalid permanent code"
	case 30002:
		return "daily quota used up"
	case 30003:
		return "no quota purchased"
	case 30004:
		return "calls per second exceeded"
	case 30007:
		return "department not found"
	case 30027:
		return "employee not found"
	case 50009:
		return "service exception"
	}
	if code >= 11001 && code <= 11018 {
		return "invalid field value"
	}
	return ""
}

// Summary returns a short text for people: "department not found (30007)". Unlike Error it has no
// class and no trace ids. It never holds a value of the request or the response.
func (e *Error) Summary() string {
	switch {
	case e.HasCode && Meaning(e.Code) != "":
		return Meaning(e.Code) + " (" + strconv.Itoa(e.Code) + ")"
	case e.HasCode:
		return "refused with errorCode " + strconv.Itoa(e.Code)
	}
	var parts []string
	if e.detail != "" {
		parts = append(parts, e.detail)
	}
	if e.Status != 0 {
		parts = append(parts, "HTTP "+strconv.Itoa(e.Status))
	}
	if len(parts) == 0 {
		return e.Class.String()
	}
	return strings.Join(parts, ", ")
}
