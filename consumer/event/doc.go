// Package event holds the data types that the parts of the consumer share: a record, its events,
// the batch of one lane that runs, the update that a batch sends, and its result.
//
// The types have no logic beyond naming and counting. Start with [Event], then [Batch] and
// [Result].
//
// Ownership: while a batch runs, its events and its [LaneState] belong to the goroutine that runs
// it. At all other times the scheduler's lock guards them.
//
// This package is a leaf: it must not know any other part of the consumer, nor Kafka, Redis or
// HTTP.
package event
