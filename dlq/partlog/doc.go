// Package partlog reads partitions of Kafka topics through kafka-go's client. It visits committed
// records only.
//
// Start with [New]. [Log.Ranges] returns what a topic holds now. [Log.Read] visits a range of one
// partition, [Log.Page] the result of one fetch, and [Log.Fetch] does the same without retries.
// [Log.Open] returns a [Cursor] over one fetch, for a caller that takes the records one at a time.
//
// Kafka-go routes the requests and keeps the connections. The bytes of a response are decoded by
// the package batch, as a stream, so the memory of a fetch does not depend on how much it inflates
// to. A [Budget] bounds the memory of all fetches at the same time. The package knows nothing of
// dead letters: it hands out records as they are in the log. A record that it does not read,
// because of its size or because it cannot be decoded, it hands out with a rejection.
package partlog
