// Package batch decodes the record batches of a Kafka log, format 2 (KIP-98), in bounded memory.
//
// Start with [Parse], which reads the header of a batch: its offsets, its codec, whether it belongs
// to a transaction. [Reader] then yields the records one at a time. It inflates the batch as a
// stream, so the memory that it needs does not depend on how much the batch inflates to.
// [Header.InflaterBytes] says what the codec needs.
//
// A record beyond the [Limits] is passed over in the stream, and yielded with a [Rejection] in
// place of its content. So is the rest of a batch that cannot be decoded. Nothing is left out
// silently: each offset of a batch is that of a record, of a rejection, or was removed by
// compaction.
//
// The package does no I/O. Kafka 4 stores no older format, and older ones are an error here.
package batch
