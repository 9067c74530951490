// Package partlog reads the partitions of topics, committed records only, over kafka-go's
// client. A page of records is in memory at a time, and the bytes of a record are copied only for who asks.
package partlog
