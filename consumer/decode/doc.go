// Package decode turns a Kafka record into events: it verifies a redrive, looks up what the mapping
// refers to, maps the record, and identifies each event.
//
// A fault of the record becomes an event with a rejection, so that one bad record never stops its
// partition. An outage of what decoding needs (lookups, the dead-letter topic) is waited for: a
// record is never rejected because of it. Start with [Decoder.Decode].
//
// [Recognizer] finds events that are done already, many at once.
//
// It must not know lanes or the group membership.
package decode
