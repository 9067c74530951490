// Package kafkatest gives tests a Kafka: the real one named by
// MEMBERSYNC_TEST_KAFKA, or a fake cluster in the process that speaks the same
// protocol. The same test runs on both.
package kafkatest
