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

// Error codes of the CRM that the fake answers with. Which of the parameter codes stands for
// what is not published.
const (
	CodeSuccess       = 0
	CodeMissing       = 10001     // a required parameter is missing
	CodeMalformed     = 10002     // not the JSON object that the API asks for
	CodeBadTrace      = 10003     // thirdTraceId missing or used before
	CodeCorp          = 10006     // corpId not found
	CodeType          = 11001     // a field that does not exist, or has the wrong JSON type
	CodeRule          = 11002     // a field breaks a rule
	CodeThrottled     = 14001     // call limit exceeded
	CodeSecret        = 20006     // bad app id or secret
	CodeNoMember      = 20012     // openUserId not found
	CodePermanent     = 20015     // bad permanent code
	CodeToken         = 20016     // token missing or expired
	CodeNoDepartment  = 30007     // department not found
	CodePerSecond     = 30004     // token fetched too often, or twice at once
	CodeDuplicate     = 201112011 // account, name or mobile taken; not in the published table
	maxDepartments    = 500
	maxRequestBody    = 1 << 20
	tokenCallsAMinute = 10
)

// Options say what the fake CRM knows. The zero value knows no member, no company and no token, so it
// refuses everything.
type Options struct {
	// CorpID is the only company.
	CorpID string
	// Path of the update API; empty is UpdatePath.
	Path string
	// ObjectAPI makes the update API the newer one, which takes object_data and refuses the user object. Without it, it is the
	// other way round.
	ObjectAPI bool
	// Tokens are accepted for ever.
	Tokens []string
	// AppID, AppSecret and PermanentCode are what the token API asks for; an empty AppID turns it off.
	AppID, AppSecret, PermanentCode string
	// TokenLife is how long a token works, 0 is 7200 s; TokenRenew after how long a new one is handed
	// out, 0 is 6600 s.
	TokenLife, TokenRenew time.Duration
	// Members exist at the start, without any field.
	Members []string
	// AutoCreate makes a member of every openUserId.
	AutoCreate bool
	// Departments are the ids that exist; nil is all.
	Departments []int64
	// DuplicateCode is answered when account, name or mobile belongs to another member; 0 is CodeDuplicate.
	DuplicateCode int
	// RateLimit is the number of update calls in any RateWindow; 0 is no limit. RateWindow 0 is 20 s.
	RateLimit  int
	RateWindow time.Duration
	// Latency of every update call.
	Latency time.Duration
	// Fault, if set, is asked for every request that no pushed fault is for.
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
