package dlq_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

func TestIsUnavailable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"no error":          {nil, false},
		"refused":           {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true},
		"reset":             {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, true},
		"unknown host":      {&net.DNSError{Err: "unknown host", Name: "kafka", IsNotFound: true}, true},
		"closed by peer":    {io.EOF, true},
		"cut off":           {io.ErrUnexpectedEOF, true},
		"closed by us":      {net.ErrClosed, true},
		"timed out":         {context.DeadlineExceeded, true},
		"no leader":         {protocol.NewErrNoLeader("t", 0), true},
		"no partition":      {protocol.NewErrNoPartition("t", 0), true},
		"no topic":          {protocol.NewErrNoTopic("t"), true},
		"canceled":          {context.Canceled, false},
		"canceled dial":     {&net.OpError{Op: "dial", Err: context.Canceled}, false},
		"TLS alert":         {&net.OpError{Op: "remote error", Err: tls.AlertError(42)}, false},
		"wrong CA":          {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false},
		"missing topic":     {&dlq.MissingTopicError{Topic: "t"}, false},
		"small topic":       {&dlq.SmallTopicError{Topic: "t"}, false},
		"too large":         {dlq.ErrTooLarge, false},
		"not a dead letter": {&dlq.FormatError{Header: "dlq.id"}, false},
		"something else":    {errors.New("something else"), false},
		"refused, wrapped":  {&dlq.WriteError{Err: fmt.Errorf("x: %w", &net.OpError{Err: syscall.ECONNREFUSED})}, true},
	} {
		if got := dlq.IsUnavailable(c.err); got != c.want {
			t.Errorf("%s: %v is unavailable: %v, want %v", name, c.err, got, c.want)
		}
	}
}

// The test classifies every code that Kafka can return. It fails if the library changes its
// classification.
func TestIsUnavailableForEveryCode(t *testing.T) {
	t.Parallel()
	unavailable := map[kafka.Error]bool{
		kafka.Unknown: true, kafka.InvalidMessage: true, kafka.UnknownTopicOrPartition: true, kafka.LeaderNotAvailable: true,
		kafka.NotLeaderForPartition: true, kafka.RequestTimedOut: true, kafka.BrokerNotAvailable: true, kafka.ReplicaNotAvailable: true,
		kafka.NetworkException: true, kafka.GroupLoadInProgress: true, kafka.GroupCoordinatorNotAvailable: true,
		kafka.NotCoordinatorForGroup: true, kafka.NotEnoughReplicas: true, kafka.NotEnoughReplicasAfterAppend: true,
		kafka.NotController: true, kafka.KafkaStorageError: true, kafka.FetchSessionIDNotFound: true, kafka.InvalidFetchSessionEpoch: true,
		kafka.ListenerNotFound: true, kafka.FencedLeaderEpoch: true, kafka.UnknownLeaderEpoch: true, kafka.OffsetNotAvailable: true,
		kafka.PreferredLeaderNotAvailable: true, kafka.EligibleLeadersNotAvailable: true, kafka.ElectionNotNeeded: true,
		kafka.NoReassignmentInProgress: true, kafka.GroupSubscribedToTopic: true, kafka.UnstableOffsetCommit: true,
		kafka.ThrottlingQuotaExceeded: true, kafka.UnknownTopicID: true, kafka.InconsistentTopicID: true, kafka.FetchSessionTopicIDError: true,
	}
	for code := kafka.Error(-1); code <= 120; code++ {
		if code == 0 {
			continue
		}
		if got := dlq.IsUnavailable(&dlq.WriteError{Err: fmt.Errorf("refused: %w", code)}); got != unavailable[code] {
			t.Errorf("%v is unavailable: %v, want %v", code, got, unavailable[code])
		}
	}
}

// Bad credentials are not an outage: they do not become valid while the service waits.
func TestBadCredentialsAreNotAnOutage(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "right"))
	b.Fake().ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake().KeepControl() // the fake only closes the connection; a real Kafka returns this error
		res := kmsg.NewPtrSASLAuthenticateResponse()
		res.Version = r.GetVersion()
		res.ErrorCode, res.ErrorMessage = kerr.SaslAuthenticationFailed.Code, new("Invalid username or password")
		return res, nil, true
	})
	transport := &kafka.Transport{SASL: plain.Mechanism{Username: "user", Password: "wrong"}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &kafka.Client{Addr: kafka.TCP(b.Addrs()...), Transport: transport}
	for what, err := range map[string]error{
		"topics":      dlq.EnsureTopics(t.Context(), client, spec("in")),
		"dead letter": dlq.NewWriter(client, "in.dlq").Write(t.Context(), sample()),
	} {
		if !errors.Is(err, kafka.SASLAuthenticationFailed) || dlq.IsUnavailable(err) {
			t.Errorf("%s: error %v, want a refusal of the credentials", what, err)
		}
	}
}
