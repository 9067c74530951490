// Package secured proves cmd/SECURITY.md: on a real Kafka with SASL, TLS and ACLs and a real Redis
// with TLS and ACLs, the permissions of that page suffice, and each of them is needed.
// Certificates, passwords and access tokens are replaced while the service runs.
//
// # Contents
//
//   - page_test.go: the permissions, read from the page.
//   - servers_test.go, issuer_test.go: Kafka, Redis, the fake CRM, and an issuer of access tokens.
//   - permissions_test.go: granting and revoking, at Kafka and at Redis.
//   - source_test.go: the events, and what the CRM should hold after them.
//   - process_test.go: the binary as the service and as the on-call user.
//   - rig_test.go: all of these for one topic.
//   - proof_test.go, kafka_test.go, redis_test.go: the proofs of the permissions.
//   - rotation_test.go, tokens_test.go: the proofs of what is replaced.
//
// # How to run it
//
// .ci/secured test chooses ports, runs the tests, and stops the servers that they have started.
// Without it they are skipped.
package secured
