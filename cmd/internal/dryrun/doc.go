// Package dryrun has what takes the places of Redis, the CRM and the dead-letter topic when the service only says what
// it would do: nothing leaves the process but lines of a report.
package dryrun
