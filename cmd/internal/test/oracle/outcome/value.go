package outcome

import (
	"encoding/json"
	"strconv"
	"time"
)

// A kind is the form of a member field in the CRM.
type kind int

const (
	kindText kind = iota // cannot be cleared
	kindClearableText
	kindGender
	kindDate
	kindInt
	kindInts
)

// fields returns the member fields of the API, without openUserId.
func fields() map[string]kind {
	return map[string]kind{
		"account": kindText, "name": kindText, "fullName": kindText, "mobile": kindText, "employeeNumber": kindText,
		"leaderId": kindText, "position": kindClearableText, "email": kindClearableText, "qq": kindClearableText,
		"weixin": kindClearableText, "gender": kindGender, "hireDate": kindDate, "birthDate": kindDate,
		"startWorkDate": kindDate, "mainDepartmentId": kindInt, "attachingDepartmentIds": kindInts,
	}
}

// normalise returns a value of an event as the CRM receives it, or reports that it is invalid.
func (k kind) normalise(value any) (string, bool) {
	if value == nil || value == "" {
		clear := map[kind]string{kindClearableText: `""`, kindInts: `[]`}
		text, ok := clear[k]
		return text, ok
	}
	switch k {
	case kindDate:
		return date(value)
	case kindInt:
		_, ok := value.(json.Number)
		return spell(value), ok
	case kindInts:
		_, ok := value.([]any)
		return spell(value), ok
	case kindGender:
		return spell(value), value == "M" || value == "F"
	case kindText, kindClearableText:
	}
	_, ok := value.(string)
	return spell(value), ok
}

// date reads RFC 3339 or epoch milliseconds. The CRM receives the latter as text.
func date(value any) (string, bool) {
	if number, ok := value.(json.Number); ok {
		return spell(number.String()), true
	}
	text, _ := value.(string)
	t, err := time.Parse(time.RFC3339, text)
	return spell(strconv.FormatInt(t.UnixMilli(), 10)), err == nil
}
