// Package e2e proves the main job end to end: the real binary runs as processes beside Kafka, Redis and the fake
// CRM, and the outcome is compared with what the oracle works out from the raw records.
//
// Kafka and Redis are the real ones named by MEMBERSYNC_TEST_KAFKA and MEMBERSYNC_TEST_REDIS, or else fakes in the
// test's process.
package e2e
