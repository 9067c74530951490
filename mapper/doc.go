// Package mapper turns the bytes of a record into the smallest updates of CRM
// members: strict decoding, validation, normalising, the sparse difference between
// the old and the new state, the version that orders changes, and the fold of
// several events into one update.
//
// It is pure. It knows no context, no I/O, no log and no clock: the same record
// gives the same results, always. Its errors name places and never values.
package mapper
