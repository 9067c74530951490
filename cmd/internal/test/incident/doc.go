// Package incident generates the events of an incident and computes the required result: the dead
// letters, how much of each is superseded by newer events, the outcome of its redrive, and the
// CRM's state before and after.
//
// The incident: the lookup table lacks a department of the HR system, so every event that names it
// is dead-lettered.
//
// Like package outcome it uses only the raw records and must not import packages of the service.
package incident
