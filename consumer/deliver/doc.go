// Package deliver has the stages that bring one batch to its result: acquire, send, complete, and
// the dead letter. It also turns an error of a call into a decision ([Classify]).
//
// The stages are called in the order of the pipeline (pipeline.go in package consumer); each does
// one thing and returns what it has learned. Start with [Deliverer.Acquire].
//
// Between two stages everything that is known of the call is in its [event.Update]. A lost reply of
// Redis is never a decision: each stage can be repeated under the same token and gets the same
// answer.
//
// It must not know Kafka or lanes: it touches no queue, and writes dead letters and audit records
// through the interfaces below.
package deliver
