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

// ErrTooLarge is wrapped by the error of a letter that the dead-letter topic
// does not take because of its size. Trying again is useless until the topic's
// max.message.bytes is raised.
var ErrTooLarge = errors.New("dlq: the letter is too large for its topic")

// A WriteError says that a letter, a redrive or an audit record is not known to be written. It may have been:
// a time-out or a lost connection leaves that open, and writing it again is right.
type WriteError struct {
	Topic     string
	Partition int    // -1 if none was chosen yet
	ID        string // of the letter, or the audit record's key
	Size      int    // of the record in bytes, before compression
	Err       error
}

// Error names the record, where it should have gone, and the cause.
func (e *WriteError) Error() string {
	return fmt.Sprintf("dlq: record %s (%d bytes) for %s/%d: %v", e.ID, e.Size, e.Topic, e.Partition, e.Err)
}

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Err }

// A MissingTopicError names a topic that does not exist, or that the
// credentials may not see.
type MissingTopicError struct{ Topic string }

// Error names the topic.
func (e *MissingTopicError) Error() string {
	return "dlq: topic " + e.Topic + " does not exist or may not be seen with these credentials"
}

// A SmallTopicError is a warning: the dead-letter topic takes smaller records
// than the source topic can hold, so that a large dead letter would stop its partition.
type SmallTopicError struct {
	Topic       string
	Limit, Need int64 // max.message.bytes as it is, and as it should be at least
}

// Error states both sizes.
func (e *SmallTopicError) Error() string {
	return fmt.Sprintf("dlq: max.message.bytes of topic %s is %d, it should be at least %d", e.Topic, e.Limit, e.Need)
}

// IsUnavailable reports whether err comes of Kafka being away or not ready, so
// that the same call may succeed later without anybody changing anything. The
// caller's own cancellation, refusals and bad credentials are not of this kind.
func IsUnavailable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if code, ok := errors.AsType[kafka.Error](err); ok {
		return isTemporary(code)
	}
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	if certificate || isAlert(err) {
		return false
	}
	_, network := errors.AsType[net.Error](err)
	return network || isCutOff(err) || isUnrouted(err)
}

// isTemporary adds to the library's judgement what a restarting broker answers too.
func isTemporary(code kafka.Error) bool {
	switch code {
	case kafka.Unknown, kafka.BrokerNotAvailable, kafka.ReplicaNotAvailable:
		return true
	default:
		return code.Temporary()
	}
}

// isAlert recognises the broker's refusal of our certificate. Over TCP crypto/tls hides
// the alert in an error of the network, and only the operation's name is left to know it by.
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

// isUnrouted recognises the library's own answers for a partition whose leader it does not know.
func isUnrouted(err error) bool {
	return errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition) || errors.Is(err, protocol.ErrNoLeader)
}
