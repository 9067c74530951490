// Package dlq owns the Kafka topics for events that can never succeed. It defines the format of a
// dead letter and of a redrive, writes and reads both, records in the audit topic who did what
// about them, and creates the topics.
//
// Start with [DeadLetter], which is one source record with the facts of its failure. Its Message
// method encodes it and [Parse] decodes it. [EnsureTopics] checks and creates the topics, [Writer]
// writes dead letters, [Redriver] writes redrives and [Auditor] writes audit records.
//
// [Reader.Index] scans the DLQ and audit topics and derives the [State] of each [Item]: all dead
// letters with one id, with what the audit topic holds under that id. [Reader.Items] then reads
// the selected items page by page, and [Reader.History] reads all of one item.
//
// The package knows Kafka. It must not know Redis, HTTP or this project's other packages.
// DESIGN.md in this folder states the format and its invariants. RUNBOOK.md states what each
// reason means for the on-call engineer.
package dlq
