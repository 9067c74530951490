package secured

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/cmd/internal/test/testbed/servicetest"
)

// The users, and what they log in with at both servers.
const (
	service, onCall = "membersync", "oncall"
	viewer          = "viewer" // at Kafka alone; at Redis it is onCall
	adminName       = "admin"  // of Redis
	password        = "made-up-password-of-the-test"
	adminPassword   = "made-up-password-of-the-admin"
)

// setKafkaPassword sets a user's password with SCRAM-SHA-512 (RFC 5802, KIP-554). It adds the user
// if there is none.
func (r *rig) setKafkaPassword(name, password string) {
	r.t.Helper()
	const iterations = 4096
	one := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	one.Name, one.Mechanism, one.Iterations, one.Salt = name, 2, iterations, []byte("salt of "+name)
	var err error
	if one.SaltedPassword, err = pbkdf2.Key(sha512.New, password, one.Salt, iterations, sha512.Size); err != nil {
		r.t.Fatal(err)
	}
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	req.Upsertions = append(req.Upsertions, one)
	answer, err := req.RequestWith(r.t.Context(), r.admin)
	if err != nil {
		r.t.Fatal(err)
	}
	if code := answer.Results[0].ErrorCode; code != 0 {
		r.t.Fatalf("user %s: error code %d", name, code)
	}
}

func operationOf(t *testing.T, a acl) kmsg.ACLOperation {
	t.Helper()
	op, err := kmsg.ParseACLOperation(a.operation)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func (a acl) resourceType() kmsg.ACLResourceType {
	if a.resource == "group" {
		return kmsg.ACLResourceTypeGroup
	}
	return kmsg.ACLResourceTypeTopic
}

func (a acl) pattern() kmsg.ACLResourcePatternType {
	if a.prefixed {
		return kmsg.ACLResourcePatternTypePrefixed
	}
	return kmsg.ACLResourcePatternTypeLiteral
}

// grant adds permissions at Kafka, and waits until they are in force.
func (r *rig) grant(all ...acl) {
	r.t.Helper()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, a := range all {
		one := kmsg.NewCreateACLsRequestCreation()
		one.ResourceType, one.ResourceName, one.ResourcePatternType = a.resourceType(), a.name, a.pattern()
		one.Principal, one.Host, one.Operation, one.PermissionType = a.principal, "*", operationOf(r.t, a), kmsg.ACLPermissionTypeAllow
		req.Creations = append(req.Creations, one)
	}
	answer, err := req.RequestWith(r.t.Context(), r.admin)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, result := range answer.Results {
		if result.ErrorCode != 0 {
			r.t.Fatalf("granting %v: error code %d", all[i], result.ErrorCode)
		}
		servicetest.Eventually(r.t, "the permission to be in force", func() bool { return r.isGranted(all[i]) })
	}
}

// revoke takes a permission away, and waits until that is in force.
func (r *rig) revoke(a acl) {
	r.t.Helper()
	req := kmsg.NewPtrDeleteACLsRequest()
	one := kmsg.NewDeleteACLsRequestFilter()
	one.ResourceType, one.ResourceName, one.ResourcePatternType = a.resourceType(), &a.name, a.pattern()
	one.Principal, one.Operation, one.PermissionType = &a.principal, operationOf(r.t, a), kmsg.ACLPermissionTypeAllow
	req.Filters = append(req.Filters, one)
	answer, err := req.RequestWith(r.t.Context(), r.admin)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(answer.Results) != 1 || len(answer.Results[0].MatchingACLs) != 1 {
		r.t.Fatalf("revoking %v: %+v", a, answer.Results)
	}
	servicetest.Eventually(r.t, "the permission to be gone", func() bool { return !r.isGranted(a) })
}

func (r *rig) isGranted(a acl) bool {
	r.t.Helper()
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourceName, req.ResourcePatternType = a.resourceType(), &a.name, a.pattern()
	req.Principal, req.Operation, req.PermissionType = &a.principal, operationOf(r.t, a), kmsg.ACLPermissionTypeAllow
	answer, err := req.RequestWith(r.t.Context(), r.admin)
	if err != nil {
		r.t.Fatal(err)
	}
	return len(answer.Resources) > 0
}

// setUser gives a user of Redis what the page says, less what is left out.
func (r *rig) setUser(name string, without ...string) {
	r.t.Helper()
	if err := r.redis.Do(r.t.Context(), r.userCommand(name, password, without...)...).Err(); err != nil {
		r.t.Fatalf("ACL SETUSER %s: %v", name, err)
	}
}

// userCommand returns the page's command for a user. A "reset" would close the user's connections
// for a moment that no operator causes.
func (r *rig) userCommand(name, password string, without ...string) []any {
	args := []any{"ACL", "SETUSER", name, "resetkeys", "-@all", "resetpass", ">" + password}
	for _, rule := range r.page.redis[name] {
		if rule != "reset" && !slices.Contains(without, rule) {
			args = append(args, rule)
		}
	}
	return args
}

// commandsOf are the commands that the page grants a user.
func (r *rig) commandsOf(name string) (commands []string) {
	for _, rule := range r.page.redis[name] {
		if command, ok := strings.CutPrefix(rule, "+"); ok {
			commands = append(commands, command)
		}
	}
	return commands
}
