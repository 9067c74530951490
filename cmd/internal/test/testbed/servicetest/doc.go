// Package servicetest runs the whole program in the process of a test, on the Kafka of kafkatest, a
// fake Redis and the fake CRM.
//
//	rig := servicetest.New(t, broker, servicetest.Options{Partitions: 1})
//	p := rig.Start(observer, "CRM_TIMEOUT", "1s") // names without MEMBERSYNC_, and values
//	rig.Broker.Produce(t, rig.Topic, messages...)
//	servicetest.Eventually(t, "a call", func() bool { return rig.CRM.Stats().Requests > 0 })
//	p.Stop()
//
// Tests that run the binary use [Process], [Output] and [Eventually]. Package testbed itself is
// linked into cmd/bench, so it must not import testing.
package servicetest
