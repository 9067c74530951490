// Package dlq keeps what can never succeed: the format of a dead letter, the
// writer that puts one into the dead-letter topic, the reader that finds it again, the
// audit topic that says what was done about it, and the topics themselves.
//
// It knows Kafka and nothing of Redis, HTTP or this project's other packages.
// DESIGN.md beside this file states the format and its invariants, RUNBOOK.md
// what each reason means for the person on call.
package dlq
