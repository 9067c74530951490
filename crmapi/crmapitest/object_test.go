package crmapitest_test

import (
	"testing"

	"membersync/crmapi/crmapitest"
)

// TestObjectFieldsAreChecked: the object API is as strict as the user API. It rejects names and
// types that are not its own.
func TestObjectFieldsAreChecked(t *testing.T) {
	t.Parallel()
	opts := options()
	opts.ObjectAPI = true
	c := newCaller(t, opts)
	const head = `"dataObjectApiName":"PersonnelObj","_id":"FSUID_TEST0001"`
	for object, want := range map[string]int{
		head + `,"phone":"1"`:                            crmapitest.CodeSuccess,
		head + `,"main_department":["1000"]`:             crmapitest.CodeSuccess,
		head + `,"vice_departments":[]`:                  crmapitest.CodeSuccess,
		head + `,"hire_date":1700000000000`:              crmapitest.CodeSuccess,
		head + `,"leader":["FSUID_TEST0002"]`:            crmapitest.CodeSuccess,
		head + `,"mobile":"1"`:                           crmapitest.CodeType,
		head + `,"Phone":"1"`:                            crmapitest.CodeType,
		head + `,"openUserId":"FSUID_TEST0001"`:          crmapitest.CodeType,
		head + `,"phone":1`:                              crmapitest.CodeType,
		head + `,"phone":null`:                           crmapitest.CodeType,
		head + `,"phone":""`:                             crmapitest.CodeRule,
		head + `,"sex":"X"`:                              crmapitest.CodeRule,
		head + `,"main_department":"1000"`:               crmapitest.CodeType,
		head + `,"main_department":[1000]`:               crmapitest.CodeType,
		head + `,"main_department":["1000","1"]`:         crmapitest.CodeType,
		head + `,"main_department":["x"]`:                crmapitest.CodeType,
		head + `,"vice_departments":["-1"]`:              crmapitest.CodeRule,
		head + `,"hire_date":"1700000000000"`:            crmapitest.CodeType,
		head + `,"hire_date":1.5`:                        crmapitest.CodeType,
		head + `,"hire_date":null`:                       crmapitest.CodeType,
		head + `,"leader":"FSUID_TEST0002"`:              crmapitest.CodeType,
		head + `,"leader":[]`:                            crmapitest.CodeType,
		head + `,"leader":[1]`:                           crmapitest.CodeType,
		head:                                             crmapitest.CodeMissing,
		`"_id":"FSUID_TEST0001","phone":"1"`:             crmapitest.CodeType,
		`"dataObjectApiName":"Other","phone":"1"`:        crmapitest.CodeType,
		`"dataObjectApiName":"PersonnelObj","phone":"1"`: crmapitest.CodeMissing,
	} {
		body := `{"corpAccessToken":"TOKEN_TEST","corpId":"CORP_TEST","data":{"object_data":{` + object + `}}}`
		if got := c.postBody(t, body); got != want {
			t.Errorf("%s: %d, want %d", object, got, want)
		}
	}
}

// TestObjectsAreLoggedAsUsers: the log contains updates of the object API as user objects.
func TestObjectsAreLoggedAsUsers(t *testing.T) {
	t.Parallel()
	opts := options()
	opts.ObjectAPI = true
	c := newCaller(t, opts)
	c.postBody(t, `{"corpAccessToken":"TOKEN_TEST","corpId":"CORP_TEST","data":{"object_data":{"dataObjectApiName":"PersonnelObj","_id":"FSUID_TEST0001","phone":"1"}}}`)
	c.postBody(t, `{"corpAccessToken":"TOKEN_TEST","corpId":"CORP_TEST","data":{"object_data":{"phone":1}}}`)
	calls := c.fake.Calls()
	if got := calls[0]; got.OpenUserID != member || string(got.User) != `{"mobile":"1","openUserId":"FSUID_TEST0001"}` || !got.Applied {
		t.Errorf("%+v", got)
	}
	if got := calls[1]; got.OpenUserID != "" || got.User != nil || got.Applied {
		t.Errorf("%+v", got)
	}
}
