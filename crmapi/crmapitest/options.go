package crmapitest

import (
	"cmp"
	"slices"
	"time"
)

// The paths of the two APIs.
const (
	UpdatePath = "/cgi/crm/v2/data/update"
	IssuePath  = "/cgi/corpAccessToken/get/V2"
)

// Error codes of the CRM with which the fake responds. What each of the parameter codes means
// is not published.
const (
	CodeSuccess       = 0
	CodeMissing       = 10001     // a required parameter is missing
	CodeMalformed     = 10002     // not the JSON object that the API requires
	CodeBadTrace      = 10003     // thirdTraceId missing or used before
	CodeCorp          = 10006     // corpId not found
	CodeType          = 11001     // unknown field, or a field with the wrong JSON type
	CodeRule          = 11002     // a field breaks a rule
	CodeThrottled     = 14001     // call limit exceeded
	CodeSecret        = 20006     // bad app ID or secret
	CodeNoMember      = 20012     // openUserId not found
	CodePermanent     = 20015     // bad permanent code
	CodeToken         = 20016     // token missing or expired
	CodeNoDepartment  = 30007     // department not found
	CodePerSecond     = 30004     // token fetched too often, or twice concurrently
	CodeDuplicate     = 201112011 // account, name or mobile is not unique; not in the published table
	maxDepartments    = 500
	maxRequestBody    = 1 << 20
	tokenCallsAMinute = 10
)

// Options set what the fake CRM knows. The zero value has no member, no company and no token, so
// the fake rejects every update.
type Options struct {
	// CorpID is the only valid company.
	CorpID string
	// Path is the path of the update API; empty means UpdatePath.
	Path string
	// ObjectAPI selects the newer update API, which accepts object_data and rejects the user
	// object. If it is false, the update API accepts the user object and rejects object_data.
	ObjectAPI bool
	// Tokens are accepted without a time limit.
	Tokens []string
	// AppID, AppSecret and PermanentCode are the values that the token API requires. An empty AppID
	// disables the token API.
	AppID, AppSecret, PermanentCode string
	// TokenLife is how long a token is valid; 0 means 7200 s. TokenRenew is the age of a token from
	// which on a new one is issued; 0 means 6600 s.
	TokenLife, TokenRenew time.Duration
	// Members exist from the start, without any field.
	Members []string
	// AutoCreate makes an update create its member if it does not exist.
	AutoCreate bool
	// Departments are the IDs that exist; nil means all.
	Departments []int64
	// DuplicateCode is the errorCode if account, name or mobile belongs to another member; 0 means
	// CodeDuplicate.
	DuplicateCode int
	// RateLimit is the number of update calls allowed in any RateWindow; 0 means no limit. A
	// RateWindow of 0 means 20 s.
	RateLimit  int
	RateWindow time.Duration
	// Latency is added to every update call.
	Latency time.Duration
	// Fault, if set, is called for every request to which no pushed fault applies.
	Fault func(Seen) Fault
}

func (o Options) withDefaults() Options {
	o.Path = cmp.Or(o.Path, UpdatePath)
	o.TokenLife = cmp.Or(o.TokenLife, 7200*time.Second)
	o.TokenRenew = cmp.Or(o.TokenRenew, 6600*time.Second)
	o.DuplicateCode = cmp.Or(o.DuplicateCode, CodeDuplicate)
	o.RateWindow = cmp.Or(o.RateWindow, 20*time.Second)
	o.Tokens = slices.Clone(o.Tokens)
	return o
}
