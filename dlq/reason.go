package dlq

// A Reason is the reason why an event was dead-lettered. It is part of the contract: dashboards,
// filters and the runbook depend on its text.
type Reason string

// The reasons. Each has a heading in RUNBOOK.md.
const (
	ReasonMalformed        Reason = "malformed"            // the bytes are not an event
	ReasonOversized        Reason = "oversized"            // the record is larger than the configured bound
	ReasonInvalidEvent     Reason = "invalid_event"        // a required part is missing or wrong
	ReasonInvalidField     Reason = "invalid_field"        // a member field's value breaks a rule
	ReasonUnresolved       Reason = "unresolved_reference" // a lookup found nothing
	ReasonNeedsFetch       Reason = "needs_fetch"          // the event carries no values
	ReasonRouted           Reason = "routed"               // a rule of the mapping dead-letters it
	ReasonCRMNotFound      Reason = "crm_not_found"        // the CRM does not know the member
	ReasonCRMInvalid       Reason = "crm_invalid"          // the CRM calls a value invalid
	ReasonCRMRejected      Reason = "crm_rejected"         // any other final refusal by the CRM
	ReasonRetriesExhausted Reason = "retries_exhausted"    // the retry budget is used up
	ReasonInvalidRedrive   Reason = "invalid_redrive"      // a redrive does not match a dead letter
)

// Reasons returns every reason, in the order of the stages.
func Reasons() []Reason {
	return []Reason{
		ReasonMalformed, ReasonOversized, ReasonInvalidEvent,
		ReasonInvalidField, ReasonUnresolved, ReasonNeedsFetch, ReasonRouted,
		ReasonCRMNotFound, ReasonCRMInvalid, ReasonCRMRejected, ReasonRetriesExhausted,
		ReasonInvalidRedrive,
	}
}

// Stage returns the stage of processing in which events fail for this reason. A reason that this
// version does not know belongs to the last stage.
func (r Reason) Stage() Stage {
	switch r {
	case ReasonMalformed, ReasonOversized, ReasonInvalidEvent, ReasonInvalidRedrive:
		return StageDecode
	case ReasonInvalidField, ReasonUnresolved, ReasonNeedsFetch, ReasonRouted:
		return StageMap
	case ReasonCRMNotFound, ReasonCRMInvalid, ReasonCRMRejected, ReasonRetriesExhausted:
		return StageUpdate
	}
	return StageUpdate
}

// A Stage is a stage of the processing of an event.
type Stage string

// The stages.
const (
	StageDecode Stage = "decode" // bytes to events
	StageMap    Stage = "map"    // events to updates
	StageUpdate Stage = "update" // the call of the CRM
)
