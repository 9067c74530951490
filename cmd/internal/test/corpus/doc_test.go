// Package corpus_test runs the corpus of the mapper, and thousands of mutated copies of it, through
// the whole service. Whatever the bytes, the service must not panic, stall a partition, or write a
// value that the event does not state. The test derives what may be written from the record's
// bytes, the mapping file and its lookups with its own code, and uses none of package mapper.
package corpus_test
