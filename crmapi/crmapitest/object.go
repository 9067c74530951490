package crmapitest

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ObjectFields are the names that the object API of the fake has in addition to the published ones,
// in the format of MEMBERSYNC_CRM_OBJECT_FIELDS. The vendor's real names are not known.
const ObjectFields = "account:login_account,name:name,position:position,email:email,qq:qq_number,weixin:wechat_number," +
	"attachingDepartmentIds:vice_departments,hireDate:hire_date,birthDate:date_of_birth,startWorkDate:date_of_first_job"

// objectNames returns the fields of the user object by their names in the object API.
func objectNames() map[string]string {
	names := map[string]string{
		"_id": "openUserId", "full_name": "fullName", "sex": "gender", "phone": "mobile", "main_department": "mainDepartmentId",
		"employee_number": "employeeNumber", "leader": "leaderId",
	}
	for row := range strings.SplitSeq(ObjectFields, ",") {
		field, name, _ := strings.Cut(row, ":")
		names[name] = field
	}
	return names
}

// fromObject turns an object_data into a user object. It reports whether all names and types are
// valid.
func fromObject(object fields) (user fields, ok bool) {
	if kind, _ := text(object["dataObjectApiName"]); kind != "PersonnelObj" {
		return nil, false
	}
	names := objectNames()
	user = fields{}
	for name, value := range object {
		if name == "dataObjectApiName" {
			continue
		}
		field := names[name]
		if user[field], ok = userValue(field, value); field == "" || !ok {
			return nil, false
		}
	}
	return user, true
}

// userValue turns a value of the object API into a value of the user object. It reports whether the
// type is valid.
func userValue(field string, value jsontext.Value) (jsontext.Value, bool) {
	switch field {
	case "hireDate", "birthDate", "startWorkDate":
		_, ok := integer(value)
		return jsontext.Value(`"` + string(value) + `"`), ok
	case "mainDepartmentId":
		ids, ok := decimals(value)
		if !ok || len(ids) != 1 {
			return nil, false
		}
		return jsontext.Value(ids[0]), true
	case "attachingDepartmentIds":
		ids, ok := decimals(value)
		return jsontext.Value("[" + strings.Join(ids, ",") + "]"), ok
	case "leaderId":
		var ids []jsontext.Value
		if value.Kind() != '[' || json.Unmarshal(value, &ids) != nil || len(ids) != 1 || ids[0].Kind() != '"' {
			return nil, false
		}
		return ids[0], true
	}
	_, ok := text(value)
	return value, ok
}

// decimals parses a list of texts that are integers.
func decimals(value jsontext.Value) (ids []string, ok bool) {
	var list []jsontext.Value
	if value.Kind() != '[' || json.Unmarshal(value, &list) != nil {
		return nil, false
	}
	for _, entry := range list {
		id, ok := text(entry)
		if _, err := strconv.ParseInt(id, 10, 64); !ok || err != nil {
			return nil, false
		}
		ids = append(ids, id)
	}
	return ids, true
}
