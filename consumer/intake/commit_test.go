package intake

import (
	"context"
	"errors"
	"io"
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
	takes   time.Duration // for each answer
	fails   int32         // so many commits, at first
	commits atomic.Int32
	open    atomic.Int32 // commits without an answer
	overlap atomic.Bool  // two commits were open at once
}

func (c *coordinator) RoundTrip(ctx context.Context, _ net.Addr, req kafka.Request) (kafka.Response, error) {
	if _, ok := req.(*offsetcommit.Request); !ok {
		return nil, errors.New("not a commit")
	}
	n := c.commits.Add(1)
	if c.open.Add(1) > 1 {
		c.overlap.Store(true)
	}
	defer c.open.Add(-1)
	if c.hangs {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if n <= c.fails {
		return nil, io.ErrUnexpectedEOF
	}
	time.Sleep(c.takes) // a request that was sent is processed, also if its sender has given it up
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
		metrics: noMetrics{}, log: slog.New(slog.DiscardHandler), stored: func(string) {},
	}, g
}

// A coordinator that does not answer a commit delays the revoke, and the end of the process, by no
// more than the timeouts of these commits.
func TestHangingCommitDelaysNoShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &coordinator{hangs: true}
		commits, g := newCommitter(c)
		g.partitions[0].committed = 6 // there is something to commit
		ended := make(chan struct{})
		began := time.Now()
		time.AfterFunc(1500*time.Millisecond, func() { close(ended) }) // in the middle of the first commit
		commits.until(t.Context(), g, ended, false)
		if took := time.Since(began); took != 1500*time.Millisecond+commitGrace || c.commits.Load() != 1 {
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

// A commit that is in flight at the revoke, or at the end of the drain, ends before the next one is
// sent: over another connection the later one could be overtaken, and the offset would go back.
func TestNoCommitIsOvertaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &coordinator{takes: 300 * time.Millisecond}
		commits, g := newCommitter(c)
		g.partitions[0].committed = 6
		ended := make(chan struct{})
		time.AfterFunc(1100*time.Millisecond, func() { close(ended) }) // in the middle of the first commit
		commits.until(t.Context(), g, ended, false)
		g.pending = 1
		commits.accounts.revoke(g)
		time.AfterFunc(1100*time.Millisecond, func() { // in the middle of the second
			commits.accounts.mu.Lock()
			defer commits.accounts.mu.Unlock()
			g.partitions[0].mark.Skip(8)
			g.ticketSpentLocked()
		})
		commits.drain(t.Context(), g, 25*time.Second)
		if n := c.commits.Load(); n != 3 || c.overlap.Load() {
			t.Errorf("%d commits, want 3; two at once: %v", n, c.overlap.Load())
		}
		if at := g.partitions[0].committed; at != 8 {
			t.Errorf("the last commit stored %d, want 8", at)
		}
	})
}

// A last commit that fails is repeated: no later one would include what it has.
func TestLastCommitIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &coordinator{fails: 3}
		commits, g := newCommitter(c)
		g.partitions[0].committed = 6
		commits.accounts.revoke(g)
		commits.drain(t.Context(), g, 25*time.Second)
		if n, at := c.commits.Load(), g.partitions[0].committed; n != 4 || at != 7 {
			t.Errorf("%d commits stored %d, want 4 and 7", n, at)
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
