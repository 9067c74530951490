package crmapi_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
)

// parseObject parses rows that must be valid.
func parseObject(t *testing.T, rows string) *crmapi.Object {
	t.Helper()
	o, err := crmapi.ParseObject(rows)
	if err != nil {
		t.Fatal(err)
	}
	return &o
}

// fullUpdate returns an update that sets every field.
func fullUpdate() crmapi.Update {
	return crmapi.Update{OpenUserID: member}.
		With(crmapi.Account, crmapi.Text("sample.001")).With(crmapi.Name, crmapi.Text("Sample 001")).
		With(crmapi.FullName, crmapi.Text(`Sample "Person" 001`)).With(crmapi.Position, crmapi.Text("Sample Position")).
		With(crmapi.Gender, crmapi.Text("F")).With(crmapi.Mobile, crmapi.Text("00000000001")).
		With(crmapi.Email, crmapi.Text("")).With(crmapi.QQ, crmapi.Text("1")).With(crmapi.Weixin, crmapi.Text("wx")).
		With(crmapi.MainDepartmentID, crmapi.Int(1000)).With(crmapi.AttachingDepartmentIDs, crmapi.Ints([]int64{1001, 1002})).
		With(crmapi.EmployeeNumber, crmapi.Text("0001")).With(crmapi.HireDate, crmapi.Text("1678896000000")).
		With(crmapi.BirthDate, crmapi.Text("-1")).With(crmapi.StartWorkDate, crmapi.Text("0")).
		With(crmapi.LeaderID, crmapi.Text("FSUID_TEST0002"))
}

func TestObjectJSON(t *testing.T) {
	t.Parallel()
	const head = `{"dataObjectApiName":"PersonnelObj","_id":"FSUID_TEST0001"`
	empty := crmapi.Update{OpenUserID: member}
	for _, tt := range []struct {
		rows   string
		update crmapi.Update
		want   string
	}{
		{"", empty, head + `}`},
		{
			crmapitest.ObjectFields, fullUpdate(),
			head + `,"login_account":"sample.001","name":"Sample 001","full_name":"Sample \"Person\" 001","position":"Sample Position",` +
				`"sex":"F","phone":"00000000001","email":"","qq_number":"1","wechat_number":"wx","main_department":["1000"],` +
				`"vice_departments":["1001","1002"],"employee_number":"0001","hire_date":1678896000000,"date_of_birth":-1,` +
				`"date_of_first_job":0,"leader":["FSUID_TEST0002"]}`,
		},
		{
			"gender:sex:M=1/F=2,mainDepartmentId:dept:long,attachingDepartmentIds:depts:longs,hireDate:hired:text,leaderId:boss:text,employeeNumber:no:texts",
			empty.With(crmapi.Gender, crmapi.Text("M")).With(crmapi.MainDepartmentID, crmapi.Int(7)).
				With(crmapi.AttachingDepartmentIDs, crmapi.Ints([]int64{7, 8})).With(crmapi.HireDate, crmapi.Text("5")).
				With(crmapi.LeaderID, crmapi.Text("F2")).With(crmapi.EmployeeNumber, crmapi.Text("0007")),
			head + `,"sex":"1","dept":7,"depts":[7,8],"no":["0007"],"hired":"5","boss":"F2"}`,
		},
		{
			crmapitest.ObjectFields,
			empty.With(crmapi.AttachingDepartmentIDs, crmapi.Ints(nil)).With(crmapi.HireDate, crmapi.Text("")).With(crmapi.LeaderID, crmapi.Text("")),
			head + `,"vice_departments":[],"hire_date":null,"leader":[]}`,
		},
	} {
		if diff := cmp.Diff(tt.want, string(parseObject(t, tt.rows).AppendJSON(nil, tt.update))); diff != "" {
			t.Errorf("%s: %s", tt.rows, diff)
		}
	}
}

func TestParseObjectFaults(t *testing.T) {
	t.Parallel()
	for rows, want := range map[string]string{
		"position":                          `row 1 "position": want field:name or field:name:form`,
		"title:title":                       `row 1 "title:title": unknown member field`,
		"qq:q q":                            `row 1 "qq:q q": the name must consist of a-z, A-Z, 0-9 and _, and must not be _id or dataObjectApiName`,
		"qq:_id":                            `row 1 "qq:_id": the name must consist of a-z, A-Z, 0-9 and _, and must not be _id or dataObjectApiName`,
		"qq:qq:long":                        `row 1 "qq:qq:long": this form is not valid for the field`,
		"attachingDepartmentIds:v:text":     `row 1 "attachingDepartmentIds:v:text": this form is not valid for the field`,
		"leaderId:l:longs":                  `row 1 "leaderId:l:longs": this form is not valid for the field`,
		"gender:sex:M=1":                    `row 1 "gender:sex:M=1": this form is not valid for the field`,
		"gender:sex:M=1/F=1":                `row 1 "gender:sex:M=1/F=1": want M=value/F=value with two different values`,
		"qq:qq,qq:other":                    `row 2 "qq:other": duplicate field`,
		"qq:phone":                          `the fields mobile and qq have the same name "phone"`,
		"qq:,weixin":                        "row 1 \"qq:\": the name must consist of a-z, A-Z, 0-9 and _, and must not be _id or dataObjectApiName\nrow 2 \"weixin\": want field:name or field:name:form",
		"hireDate:hire_date:date,qq:number": `row 1 "hireDate:hire_date:date": this form is not valid for the field`,
	} {
		if _, err := crmapi.ParseObject(rows); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", rows, err, want)
		}
	}
}

func TestObjectNames(t *testing.T) {
	t.Parallel()
	known := map[crmapi.Field]string{
		crmapi.FullName: "full_name", crmapi.Gender: "sex", crmapi.Mobile: "phone", crmapi.MainDepartmentID: "main_department",
		crmapi.EmployeeNumber: "employee_number", crmapi.LeaderID: "leader",
	}
	o := parseObject(t, "")
	for f := range crmapi.Field(crmapi.NumFields) {
		if o.Name(f) != known[f] {
			t.Errorf("name of %s: %q, want %q", f, o.Name(f), known[f])
		}
	}
}

// TestModifyByObject compares the two APIs. An update through the strict object API must leave the
// member in the same state as the same update through the user object. Each API rejects the body of
// the other.
func TestModifyByObject(t *testing.T) {
	t.Parallel()
	byUser, byObject := options(), options()
	byObject.ObjectAPI = true
	users, objects := crmapitest.New(byUser), crmapitest.New(byObject)
	object := func(c *crmapi.Config) { c.Object = parseObject(t, crmapitest.ObjectFields) }
	if _, err := modify(t, newClient(t, loopback(t, users)), crmapi.Call{Update: fullUpdate()}); err != nil {
		t.Error(err)
	}
	if _, err := modify(t, newClient(t, loopback(t, objects), object), crmapi.Call{Update: fullUpdate()}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(users.State(member), objects.State(member)); diff != "" || len(objects.State(member)) != crmapi.NumFields {
		t.Errorf("members (-by user +by object):\n%s", diff)
	}
	for fake, change := range map[http.Handler]func(*crmapi.Config){users: object, objects: func(*crmapi.Config) {}} {
		if _, err := modify(t, newClient(t, loopback(t, fake), change), crmapi.Call{Update: sample()}); err == nil || err.Code != crmapitest.CodeMalformed {
			t.Errorf("the other API's body: %v", err)
		}
	}
}
