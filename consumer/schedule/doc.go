// Package schedule decides which member's batch runs next. It owns the lanes, the pauses, the
// health of the CRM, the storm guard, the retry budgets, and the order in which rate-limit permits
// are drawn.
//
// It starts nothing, does no I/O and takes the time as an argument. Start with [Schedule.Next],
// which answers "which batch now, or when to ask again", and [Schedule.Settle], which takes a batch
// back.
//
// One lock, that of [Schedule], guards everything, also the events and lane states of batches that
// do not run. The types inside (queues, slots, pauses, gathering, holder) have no lock of their
// own. Callbacks and tickets are called without the lock.
//
// It must not know Kafka, Redis or the CRM, nor the other parts of the consumer.
package schedule
