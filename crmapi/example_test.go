package crmapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"

	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
)

// A field that the update does not set keeps its value in the CRM. An error has a class, which says
// whether a retry can help.
func ExampleClient_Modify() {
	fake := crmapitest.New(crmapitest.Options{
		CorpID: "CORP_TEST", Tokens: []string{"token"},
		Members: []string{"FSUID_TEST0001"},
	})
	server := httptest.NewServer(fake)
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	client, err := crmapi.New(crmapi.Config{
		BaseURL: base, Path: crmapitest.UpdatePath, CorpID: "CORP_TEST", Token: crmapi.FixedToken("token"), HTTP: server.Client(),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	for _, member := range []string{"FSUID_TEST0001", "FSUID_TEST0002"} {
		update := crmapi.Update{OpenUserID: member}.With(crmapi.Position, crmapi.Text("Sample Engineer"))
		_, err := client.Modify(context.Background(), crmapi.Call{Update: update})
		if failed, ok := errors.AsType[*crmapi.Error](err); ok {
			fmt.Println(member, failed.Class, failed.Reason)
			continue
		}
		fmt.Println(member, string(fake.State(member)["position"]))
	}
	// Output:
	// FSUID_TEST0001 "Sample Engineer"
	// FSUID_TEST0002 poison crm_not_found
}
