// Package debezium shows on real databases that the CRM equals the table: Debezium reads it, Kafka
// Connect writes the topic, and the real binary of membersync applies it to the fake CRM.
//
// # Contents
//
//   - database_test.go: SQL through psql and mariadb.
//   - employees_test.go: the table, its rows and how they change.
//   - connect_test.go: the worker of Kafka Connect, which can be killed, and its offsets.
//   - records_test.go: what the connector wrote to the topic.
//   - expected_test.go: the CRM state that the rows require, derived without package mapper.
//   - rig_test.go: one step: change, wait until all is idle, compare.
//   - postgres_test.go, mariadb_test.go, steps_test.go: the steps.
//
// # How to run it
//
// .ci/debezium test starts the databases and runs the tests. Without it they are skipped.
package debezium
