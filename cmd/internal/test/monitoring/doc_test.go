// Package monitoring proves the alerts and the dashboard of deploy/: what they name exists, and a
// real Prometheus that scrapes the service in each state of its status answers each query of the
// dashboard.
//
// # Contents
//
//   - names_test.go: the metrics that are promised, and that the service serves them.
//   - alerts_test.go, dashboard_test.go: the two files name only those, and sections that exist.
//   - states_test.go: how each state is produced, with the binary.
//   - queries_test.go: which query returns what in which state, and the test.
//   - prometheus_test.go, process_test.go: the processes.
//
// # How to run it
//
// .ci/deploy test runs all of it. Without MEMBERSYNC_TEST_PROMETHEUS, the path of a Prometheus, the
// states are skipped.
package monitoring
