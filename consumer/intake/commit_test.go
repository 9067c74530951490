package intake

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"

	"membersync/consumer/intake/source"
	"membersync/consumer/intake/watermark"
)

// A coordinator answers commits, or does not.
type coordinator struct {
	hangs   bool
	commits atomic.Int32
}

func (c *coordinator) RoundTrip(ctx context.Context, _ net.Addr, req kafka.Request) (kafka.Response, error) {
	if _, ok := req.(*offsetcommit.Request); !ok {
		return nil, errors.New("not a commit")
	}
	c.commits.Add(1)
	if c.hangs {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return &offsetcommit.Response{}, nil
}

type noMetrics struct{}

func (noMetrics) Rebalanced()      {}
func (noMetrics) Gap(int64)        {}
func (noMetrics) Committed(string) {}
func (noMetrics) KafkaPaused(bool) {}

func newCommitter(c *coordinator) (*committer, *generation) {
	client := &kafka.Client{Addr: kafka.TCP("localhost:1"), Transport: c}
	g := &generation{drained: make(chan struct{}), commitNow: make(chan struct{}, 1)}
	g.partitions = []*partition{{topic: "source", gen: g, mark: watermark.New(7), committed: 7}}
	return &committer{
		topics: []string{"source"}, offsets: source.NewOffsets(client, adminTimeout), accounts: newAccounts(),
		metrics: noMetrics{}, log: slog.New(slog.DiscardHandler),
	}, g
}

// A coordinator that does not answer a commit delays neither the revoke nor, by more than the last
// commit's timeout, the end of the process.
func TestHangingCommitDelaysNoShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &coordinator{hangs: true}
		commits, g := newCommitter(c)
		g.partitions[0].committed = 6 // there is something to commit
		generation, end := context.WithCancelCause(t.Context())
		began := time.Now()
		time.AfterFunc(1500*time.Millisecond, func() { end(errStopped) }) // in the middle of the first commit
		commits.until(context.WithoutCancel(t.Context()), generation, g)
		if took := time.Since(began); took != 1500*time.Millisecond || c.commits.Load() != 1 {
			t.Errorf("the revoke was noticed after %v, in commit %d", took, c.commits.Load())
		}
		commits.accounts.revoke(g) // nothing is open: it is drained
		began = time.Now()
		commits.drain(t.Context(), g, 25*time.Second)
		if took := time.Since(began); took != lastCommitTimeout {
			t.Errorf("the drain took %v, want %v for the last commit", took, lastCommitTimeout)
		}
	})
}

// During a drain kafka-go sends no heartbeats. Commits keep the member in the group, also if
// nothing moves.
func TestDrainCommitsWhatHasNotMoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &coordinator{}
		commits, g := newCommitter(c)
		g.pending = 1 // a call that does not end
		commits.accounts.revoke(g)
		commits.drain(t.Context(), g, 8500*time.Millisecond)
		if n := c.commits.Load(); n != 8 {
			t.Errorf("%d commits in a drain of 8.5 s, want one each second", n)
		}
	})
}
