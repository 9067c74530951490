// Package dedupe keeps in Redis what makes a delivery at least once take effect
// once: done marks of events, one lease for each member, the version and the
// digest of each member field, the rate limit that all instances share, and the
// operator's pause.
//
// It knows Redis and nothing of Kafka, HTTP or this project's other packages.
// No value of a member field, and no id of an employee, user or event as it came,
// is ever part of a Redis key or value: they are hashed. DESIGN.md beside this
// file says which interleaving each line of the scripts closes.
package dedupe
