// Package kafkatest gives tests a Kafka cluster: the real one that MEMBERSYNC_TEST_KAFKA names, or
// a fake cluster in the test's process that speaks the same protocol. The same test runs on both.
//
// Start with [Start], or with [StartFake] to inject faults. [Broker.Topic] creates a topic that is
// deleted at the end of the test, [Broker.Produce] and [Broker.ReadAll] write and read records,
// and [Broker.Client] returns a kafka-go client for the code under test.
//
// Only tests import this package. It knows nothing of dead letters.
package kafkatest
