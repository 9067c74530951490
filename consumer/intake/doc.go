// Package intake brings Kafka records in: group membership, one fetch loop per assigned partition,
// back-pressure, the watermark of each partition, and commits.
//
// It hands each record to a [Handler] as a [Delivery], in partition order. The handler issues one
// ticket per event. Each ticket is finished or dropped exactly once; a record whose tickets are all
// finished may be committed. When partitions are taken away, the tickets are marked first, then
// [Handler.Revoked] drops what has not begun, and a drain waits for the rest.
//
// Start with [Intake.Run], then serve (generation.go), read (partition.go) and account.go, which
// holds the only line that makes an offset committable.
//
// It must not know lanes, Redis or the CRM.
package intake
