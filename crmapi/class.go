package crmapi

// A Class is the kind of result that a call had. It decides what the caller does next.
type Class uint8

// The classes. Their names are label values of metrics.
const (
	ClassSuccess        Class = iota // applied
	ClassPoison                      // this update can never succeed
	ClassTransient                   // may succeed later
	ClassUnacknowledged              // may have been sent, but no response arrived
	ClassThrottled                   // every sender has to slow down
	ClassQuota                       // nothing more until the quota is reset
	ClassToken                       // the CRM refused the access token, and it cannot be renewed now
	ClassRefused                     // wrong configuration or no permission: the operator must act
	numClasses
)

// Classes returns all classes, in the order of their constants.
func Classes() []Class {
	all := make([]Class, 0, numClasses)
	for c := range numClasses {
		all = append(all, c)
	}
	return all
}

// String returns the name of the class, or "unknown" if c is not a class.
func (c Class) String() string {
	if c >= numClasses {
		return "unknown"
	}
	return [...]string{
		"success", "poison", "transient", "unacknowledged", "throttled", "quota", "token", "refused",
	}[c]
}

// ParseClass returns the class with the given name, and whether there is one.
func ParseClass(name string) (Class, bool) {
	for c := range numClasses {
		if c.String() == name {
			return c, true
		}
	}
	return 0, false
}

// A Reason is why an update can never succeed. It becomes the reason of the dead letter.
type Reason string

// The reasons.
const (
	ReasonNotFound Reason = "crm_not_found" // the member or a referenced object does not exist
	ReasonInvalid  Reason = "crm_invalid"   // a parameter is missing or wrong
	ReasonRejected Reason = "crm_rejected"  // any other final rejection
)

func (r Reason) valid() bool {
	switch r {
	case ReasonNotFound, ReasonInvalid, ReasonRejected:
		return true
	}
	return false
}
