// Package corpus_test runs the corpus of the mapper, and thousands of mutated copies of it, through the whole service:
// whatever the bytes, it does not panic, stalls no partition, and writes no value that the event did not state. What may
// be written is derived anew from the record's bytes, the mapping file and its lookups, with no code of the mapper's.
package corpus_test
