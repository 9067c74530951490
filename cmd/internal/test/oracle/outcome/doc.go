// Package outcome computes the result that the service must produce from the raw records of the
// source topic and the set-up of the CRM: the final value of each field, and the dead letters. It
// also generates records.
//
// It ignores time. Package history, the oracle of the simulation, checks the order of events. The
// two share no code, on purpose: see there.
//
// The package must not import packages of the service, so that it cannot share a mistake with them.
package outcome
