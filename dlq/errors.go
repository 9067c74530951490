package dlq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// ErrTooLarge is wrapped by the error of a record that its topic does not take because of its size.
// A retry fails until the topic's max.message.bytes is raised.
var ErrTooLarge = errors.New("dlq: the record is too large for its topic")

// A WriteError reports that a dead letter, a redrive or an audit record is not known to be written.
// The write may have succeeded: a timeout or a lost connection leaves that open. Writing the record
// again is correct.
type WriteError struct {
	Topic     string
	Partition int    // -1 if none was chosen yet
	ID        string // of the dead letter, or the audit record's key
	Size      int    // of the record in bytes, before compression
	Err       error
}

// Error names the record, its topic and partition, and the cause.
func (e *WriteError) Error() string {
	return fmt.Sprintf("dlq: record %s (%d bytes) for %s/%d: %v", e.ID, e.Size, e.Topic, e.Partition, e.Err)
}

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Err }

// A MissingTopicError names a topic that does not exist, or that the credentials do not permit to
// describe.
type MissingTopicError struct{ Topic string }

// Error names the topic.
func (e *MissingTopicError) Error() string {
	return "dlq: topic " + e.Topic + " does not exist, or these credentials may not describe it"
}

// A SmallTopicError is a warning: the dead-letter topic's size limit is too low for the largest
// records of the source topic. A dead letter that does not fit would stop its partition.
type SmallTopicError struct {
	Topic       string
	Limit, Need int64 // the topic's max.message.bytes, and the lowest value that suffices
}

// Error states both sizes in bytes.
func (e *SmallTopicError) Error() string {
	return fmt.Sprintf("dlq: max.message.bytes of topic %s is %d, it should be at least %d", e.Topic, e.Limit, e.Need)
}

// IsUnavailable reports whether err means that Kafka is unreachable or not ready, so that the same
// call may succeed later without any intervention. It is false for the caller's own cancellation,
// for refusals and for bad credentials.
func IsUnavailable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if code, ok := errors.AsType[kafka.Error](err); ok {
		return isTemporary(code)
	}
	if own, ok := errors.AsType[unavailable](err); ok {
		return own.Unavailable()
	}
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	if certificate || isAlert(err) {
		return false
	}
	_, network := errors.AsType[net.Error](err)
	return network || isCutOff(err) || isUnrouted(err)
}

// An unavailable error says itself whether the call may succeed later without any intervention:
// that of an access token that was not fetched, for example.
type unavailable interface {
	error
	Unavailable() bool
}

// isTemporary adds to the library's classification the codes that a restarting broker returns.
func isTemporary(code kafka.Error) bool {
	switch code {
	case kafka.Unknown, kafka.BrokerNotAvailable, kafka.ReplicaNotAvailable:
		return true
	default:
		return code.Temporary()
	}
}

// isAlert recognizes the broker's refusal of our certificate. Over TCP, crypto/tls wraps the alert
// in a network error, and only the name of the operation identifies it.
func isAlert(err error) bool {
	if _, alert := errors.AsType[tls.AlertError](err); alert {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

func isCutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded)
}

// isUnrouted recognizes the library's own errors for a partition whose leader it does not know.
func isUnrouted(err error) bool {
	return errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition) || errors.Is(err, protocol.ErrNoLeader)
}
