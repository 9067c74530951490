// Package secured proves cmd/SECURITY.md: on a real Kafka with SASL, TLS and ACLs and a real Redis
// with TLS and ACLs, the permissions of that page suffice, and each of them is needed.
//
// # Contents
//
//   - page_test.go: the permissions, read from the page.
//   - certificates_test.go, servers_test.go: a CA of its own, Kafka, Redis and the fake CRM with TLS.
//   - permissions_test.go: granting and revoking, at Kafka and at Redis.
//   - process_test.go, rig_test.go: the binary as the service and as the on-call user.
//   - start_test.go, kafka_test.go, redis_test.go: the proofs.
//
// # How to run it
//
// .ci/secured test chooses ports, runs the tests, and stops the servers that they have started.
// Without it they are skipped.
package secured
