// Command alternatives runs what a team might write in place of membersync. bench compares both
// with the service:
//
//	alternatives loop        a plain loop with kafka-go, SETNX in Redis and one call at a time
//	alternatives watermill   a Watermill router on its Kafka subscriber
//
// Each reads the canonical events of the source topic and posts what changed to the CRM, until
// SIGTERM. The settings are membersync's own variables. The program is a module of its own, so that
// neither Watermill nor Sarama enters the product's go.mod.
package main
