// Package incident makes up the events of an incident and works out what has to come of them: which are dead letters, how
// much of each newer events have overtaken, what its redrive comes to, and what the CRM holds before and after. Like
// package oracle it knows the raw records alone, and imports none of the service's packages.
//
// The incident: a department of the HR system is missing in the lookup table, so every event that names it dies.
package incident
