package crmapi

// A Class says what kind of answer a call got, and so what has to be done next.
type Class uint8

// The classes. Their names are label values of metrics.
const (
	ClassSuccess        Class = iota // applied
	ClassPoison                      // this update can never succeed
	ClassTransient                   // may succeed later
	ClassUnacknowledged              // may have been sent, and no answer came
	ClassThrottled                   // every sender has to slow down
	ClassQuota                       // nothing more until the quota is reset
	ClassToken                       // the access token is refused and cannot be renewed now
	ClassRefused                     // somebody has to mend the configuration
	numClasses
)

// Classes returns every class.
func Classes() []Class {
	all := make([]Class, 0, numClasses)
	for c := range numClasses {
		all = append(all, c)
	}
	return all
}

// String returns the name of the class.
func (c Class) String() string {
	if c >= numClasses {
		return "unknown"
	}
	return [...]string{
		"success", "poison", "transient", "unacknowledged", "throttled", "quota", "token", "refused",
	}[c]
}

// ParseClass finds a class by its name.
func ParseClass(name string) (Class, bool) {
	for c := range numClasses {
		if c.String() == name {
			return c, true
		}
	}
	return 0, false
}

// A Reason says why the CRM refuses an update for good. It is the reason of the dead letter.
type Reason string

// The reasons.
const (
	ReasonNotFound Reason = "crm_not_found" // the member, or something that the update names, does not exist
	ReasonInvalid  Reason = "crm_invalid"   // a parameter is missing or wrong
	ReasonRejected Reason = "crm_rejected"  // any other final refusal
)

func (r Reason) valid() bool {
	switch r {
	case ReasonNotFound, ReasonInvalid, ReasonRejected:
		return true
	}
	return false
}
