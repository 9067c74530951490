// Package outcome computes what the service has to bring about, from the raw records of the source topic and what
// the CRM is set up with, and nothing else. It imports none of the service's packages, so that it cannot
// share a mistake with them. It also makes up the records.
package outcome
