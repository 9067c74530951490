// Package e2e tests the main job end to end: the real binary runs as processes with Kafka, Redis
// and the fake CRM, and the result is compared with that of an independent oracle (package
// outcome).
//
// MEMBERSYNC_TEST_KAFKA and MEMBERSYNC_TEST_REDIS name real servers. Without them the test process
// runs fakes.
package e2e
