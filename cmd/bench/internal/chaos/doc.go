// Package chaos holds the parts of long trials of the service: a workload of changes, a plan of
// faults drawn from a seed, proxies that cut connections, and checks of the result. The checks are
// pure functions. Their input is what was produced, the requests that the CRM received, and what
// Kafka holds. They know nothing of the service.
package chaos
