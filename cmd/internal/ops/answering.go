package ops

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"
)

// answerTimeout is how long a status waits for Kafka to answer anything. Lookups are repeated for
// longer, through the restart of a broker, which a command that changes something had better wait
// for. A status is to tell that Kafka is away.
const answerTimeout = 4 * time.Second

var errKafkaSilent = errors.New("no answer from Kafka in 4 s")

// whileAnswering returns a context that ends with the function, or with [errKafkaSilent] if Kafka
// has answered nothing in the first seconds. Once it has, the context goes on: large topics take
// longer.
func whileAnswering(ctx context.Context, client *kafka.Client) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	go func() {
		if err := awaitAnswer(ctx, client); err != nil {
			end(err)
		}
	}()
	return ctx, func() { end(nil) }
}

// awaitAnswer returns nil once Kafka has answered anything.
func awaitAnswer(ctx context.Context, client *kafka.Client) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTimeout, errKafkaSilent)
	defer cancel()
	const every = 100 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if _, err := client.ApiVersions(ctx, &kafka.ApiVersionsRequest{}); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
