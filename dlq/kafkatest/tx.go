package kafkatest

import (
	"context"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A Tx is a producer transaction, which kafka-go does not support.
type Tx struct {
	b  *Records
	id string
	cl *kgo.Client
}

// Begin starts a transaction. Until it is committed or aborted, the last stable offset of its
// partitions does not advance past it.
func (b *Records) Begin(tb testing.TB) *Tx {
	tb.Helper()
	id := unique()
	cl := b.newKgo(tb, kgo.TransactionalID(id))
	check(tb, "beginning a transaction", cl.BeginTransaction())
	return &Tx{b: b, id: id, cl: cl}
}

// Produce writes messages within the transaction, as [Broker.Produce] does.
func (x *Tx) Produce(tb testing.TB, topic string, msgs ...kafka.Message) {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	produce(ctx, tb, x.cl, topic, msgs)
}

// Commit makes the transaction's records visible to readers of committed data.
func (x *Tx) Commit(tb testing.TB) {
	tb.Helper()
	x.end(tb, kgo.TryCommit)
}

// Abort aborts the transaction. Its records stay in the log but readers of committed data skip
// them.
func (x *Tx) Abort(tb testing.TB) {
	tb.Helper()
	x.end(tb, kgo.TryAbort)
}

// end ends the transaction and waits until its markers are written. The coordinator writes them
// after it has responded.
func (x *Tx) end(tb testing.TB, try kgo.TransactionEndTry) {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	check(tb, "ending a transaction", x.cl.EndTransaction(ctx, try))
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{x.id}
	x.b.retry(tb, "waiting for a transaction's end", func(ctx context.Context) error {
		res, err := req.RequestWith(ctx, x.b.kgo)
		if err != nil {
			return err
		}
		if state := res.TransactionStates[0]; strings.HasPrefix(state.State, "Prepare") {
			return errNotYet
		}
		return kerr.ErrorForCode(res.TransactionStates[0].ErrorCode)
	})
}
