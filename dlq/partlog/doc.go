// Package partlog reads partitions of Kafka topics through kafka-go's client. It visits committed
// records only.
//
// Start with [New]. [Log.Ranges] returns what a topic holds now. [Log.Read] visits a range of one
// partition, [Log.Page] the result of one fetch, and [Log.Fetch] does the same without retries.
//
// One page of records is in memory at a time. A record's key and value are copied only if the
// visitor asks for them. The package knows nothing of dead letters: it hands out records as they
// are in the log.
package partlog
