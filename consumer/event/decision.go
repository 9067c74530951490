package event

import (
	"time"

	"membersync/crmapi"
	"membersync/dlq"
)

// A Cause is why calls are paused.
type Cause uint8

// The causes.
const (
	CauseOutage    Cause = iota // the calls of most members fail
	CauseThrottled              // the CRM reports too many calls
	CauseQuota                  // the CRM's daily quota is used up
	CauseRefused                // the CRM refuses us: the operator has to act
	CauseRedis                  // Redis does not answer
	CauseStorm                  // most events would be dead-lettered
	CauseOperator               // the operator has paused calling
	CauseStateKey               // the state in Redis was written under another state key
	NumCauses      = int(iota)
)

// String returns the cause as metrics, logs and readiness name it.
func (c Cause) String() string {
	if int(c) >= NumCauses {
		return "unknown"
	}
	return [NumCauses]string{
		"crm_outage", "crm_throttled", "crm_quota", "crm_refused", "redis", "storm", "operator", "state_key",
	}[c]
}

// A Kind is what to do about an error of a call.
type Kind uint8

// The kinds.
const (
	KindAbandon   Kind = iota // the process stops: nothing is known, and nothing is to be done
	KindNotSent               // the lease was too short for a call: acquire again
	KindPoison                // dead letter
	KindTransient             // backoff in the lane, on the event's retry budget
	KindRefused               // as transient; all calls pause unless a probe succeeds
	KindPause                 // all calls pause; no attempt is counted
)

// A Decision is what follows from an error of a call.
type Decision struct {
	Kind  Kind
	Cause Cause         // for KindRefused and KindPause
	Floor time.Duration // the shortest pause or backoff
	Final dlq.Reason    // of the dead letter: for KindPoison, else when the retry budget is used up
	// UnknownCode: the error code is in no table, so it may be a rejection for good.
	UnknownCode bool
	// OutcomeUnknown: the CRM may still apply the call.
	OutcomeUnknown bool
	Err            *crmapi.Error // nil only for KindAbandon and KindNotSent
}
