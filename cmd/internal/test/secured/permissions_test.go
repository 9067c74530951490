package secured

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"testing"

	"github.com/redis/go-redis/v9"
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

// setPassword sets a user's password with SCRAM-SHA-512 (RFC 5802, KIP-554). It adds the user
// if there is none.
func (k *kafkaServer) setPassword(t *testing.T, name, password string) {
	t.Helper()
	const iterations = 4096
	one := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	one.Name, one.Mechanism, one.Iterations, one.Salt = name, 2, iterations, []byte("salt of "+name)
	var err error
	if one.SaltedPassword, err = pbkdf2.Key(sha512.New, password, one.Salt, iterations, sha512.Size); err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	req.Upsertions = append(req.Upsertions, one)
	answer, err := req.RequestWith(t.Context(), k.admin)
	if err != nil {
		t.Fatal(err)
	}
	if code := answer.Results[0].ErrorCode; code != 0 {
		t.Fatalf("user %s: error code %d", name, code)
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
func (k *kafkaServer) grant(t *testing.T, all ...acl) {
	t.Helper()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, a := range all {
		one := kmsg.NewCreateACLsRequestCreation()
		one.ResourceType, one.ResourceName, one.ResourcePatternType = a.resourceType(), a.name, a.pattern()
		one.Principal, one.Host, one.Operation, one.PermissionType = a.principal, "*", operationOf(t, a), kmsg.ACLPermissionTypeAllow
		req.Creations = append(req.Creations, one)
	}
	answer, err := req.RequestWith(t.Context(), k.admin)
	if err != nil {
		t.Fatal(err)
	}
	for i, result := range answer.Results {
		if result.ErrorCode != 0 {
			t.Fatalf("granting %v: error code %d", all[i], result.ErrorCode)
		}
		servicetest.Eventually(t, "the permission to be in force", func() bool { return k.isGranted(t, all[i]) })
	}
}

// revoke takes a permission away, and waits until that is in force.
func (k *kafkaServer) revoke(t *testing.T, a acl) {
	t.Helper()
	req := kmsg.NewPtrDeleteACLsRequest()
	one := kmsg.NewDeleteACLsRequestFilter()
	one.ResourceType, one.ResourceName, one.ResourcePatternType = a.resourceType(), &a.name, a.pattern()
	one.Principal, one.Operation, one.PermissionType = &a.principal, operationOf(t, a), kmsg.ACLPermissionTypeAllow
	req.Filters = append(req.Filters, one)
	answer, err := req.RequestWith(t.Context(), k.admin)
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Results) != 1 || len(answer.Results[0].MatchingACLs) != 1 {
		t.Fatalf("revoking %v: %+v", a, answer.Results)
	}
	servicetest.Eventually(t, "the permission to be gone", func() bool { return !k.isGranted(t, a) })
}

func (k *kafkaServer) isGranted(t *testing.T, a acl) bool {
	t.Helper()
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourceName, req.ResourcePatternType = a.resourceType(), &a.name, a.pattern()
	req.Principal, req.Operation, req.PermissionType = &a.principal, operationOf(t, a), kmsg.ACLPermissionTypeAllow
	answer, err := req.RequestWith(t.Context(), k.admin)
	if err != nil {
		t.Fatal(err)
	}
	return len(answer.Resources) > 0
}

// setRedisUser gives a user of Redis what the page says, less what is left out.
func (s *servers) setRedisUser(t *testing.T, name string, without ...string) {
	t.Helper()
	doRedis(t, s.redis, s.page.redisUser(name, password, without...)...)
}

// doRedis runs a command.
func doRedis(t *testing.T, client *redis.Client, command ...any) {
	t.Helper()
	if err := client.Do(t.Context(), command...).Err(); err != nil {
		t.Fatalf("%v: %v", command[:2], err)
	}
}
