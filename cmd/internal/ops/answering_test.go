package ops

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/dlq/kafkatest"
)

// A status ends its reads of a Kafka that answers nothing: one that refuses connections, and one
// that accepts them and is silent.
func TestReadsEndWhenKafkaIsSilent(t *testing.T) {
	t.Parallel()
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"refused": func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED },
		"silent": func(ctx context.Context, _, _ string) (net.Conn, error) {
			client, server := net.Pipe()
			context.AfterFunc(ctx, func() { _ = server.Close() })
			return client, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				transport := &kafka.Transport{Dial: dial}
				defer transport.CloseIdleConnections()
				began := time.Now()
				ctx, cancel := whileAnswering(t.Context(), &kafka.Client{Addr: kafka.TCP("127.0.0.1:1"), Transport: transport})
				defer cancel()
				<-ctx.Done()
				if lasted := time.Since(began); lasted != answerTimeout || !errors.Is(context.Cause(ctx), errKafkaSilent) {
					t.Errorf("ended after %v: %v", lasted, context.Cause(ctx))
				}
			})
		})
	}
}

// A Kafka that answers ends nothing, however long the reads take.
func TestReadsGoOnWhenKafkaAnswers(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t)
	if err := awaitAnswer(t.Context(), broker.Client(t)); err != nil {
		t.Error(err)
	}
}
