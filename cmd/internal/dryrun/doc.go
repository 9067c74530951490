// Package dryrun replaces Redis, the CRM and the dead-letter topic when the service only reports
// what it would do: nothing leaves the process but lines of a report.
package dryrun
