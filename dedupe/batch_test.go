package dedupe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"membersync/dedupe"
)

// A bubble is a store on a miniredis inside a synctest bubble. A request can be blocked at the
// server while others arrive.
type bubble struct {
	*testing.T

	mini  *miniredis.Miniredis
	store *dedupe.Store
	block chan struct{} // if set, the next request is blocked at the server until it is closed
	lose  atomic.Int32  // replies to lose
	mu    sync.Mutex
	sizes []int // of the pipelines sent
	alone int   // requests sent on their own
	calls sync.WaitGroup
	errs  []error
}

func inBubble(t *testing.T, test func(*bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{T: t, mini: miniredis.NewMiniRedis()}
		client := redis.NewClient(&redis.Options{
			MaxRetries: 1, PoolSize: 8, Protocol: 2, DisableIdentity: true,
			Dialer: func(context.Context, string, string) (net.Conn, error) {
				c, err := b.mini.Dial()
				return &lossyConn{Conn: c, lose: &b.lose}, err
			},
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		})
		client.AddHook(b)
		b.store = newStore(t, client, nil)
		apply(t, b.store, b.member(99), 1, "b") // loads the scripts
		b.mini.Server().SetPreHook(b.atServer)
		b.sizes, b.alone = nil, 0
		test(b)
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		b.mini.Close()
	})
}

func (b *bubble) member(n int) dedupe.Member { return dedupe.NewMember("b", "c", fmt.Sprint(n)) }

// atServer blocks a request at the server if blockNext asked for it.
func (b *bubble) atServer(_ *server.Peer, cmd string, _ ...string) bool {
	if cmd != "EVALSHA" { // a command of a new connection
		return false
	}
	b.mu.Lock()
	block := b.block
	b.block = nil
	b.mu.Unlock()
	if block != nil {
		<-block
	}
	return false
}

// blockNext blocks the next request at the server until release is called.
func (b *bubble) blockNext() (release func()) {
	block := make(chan struct{})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.block = block
	return func() { close(block) }
}

// acquire requests the lease of member n in the background, under the token t<n>.
func (b *bubble) acquire(ctx context.Context, n, events int) {
	b.calls.Go(func() {
		req := dedupe.AcquireRequest{Member: b.member(n), Token: token(n)}
		for i := range events {
			req.Events = append(req.Events, dedupe.Event{ID: dedupe.NewRecordID("t", 0, int64(i), 0, 0), Version: "01"})
		}
		g, err := b.store.Acquire(ctx, req)
		if err == nil && (g.Leased || len(g.Events) != events) {
			err = fmt.Errorf("member %d: leased %v, %d events in the grant", n, g.Leased, len(g.Events))
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.errs = append(b.errs, err)
	})
}

func token(n int) dedupe.Token { return dedupe.Token(fmt.Sprint("t", n)) }

// leased lists the members below n whose lease is owned by their own token.
func (b *bubble) leased(n int) (members []int) {
	for i := range n {
		if v, err := b.mini.Get("t:{" + b.store.MemberHash(b.member(i)) + "}:lease"); err == nil && v == string(token(i)) {
			members = append(members, i)
		}
	}
	return members
}

func (b *bubble) wantErrors(want ...error) {
	b.Helper()
	b.calls.Wait()
	if !slices.EqualFunc(b.errs, want, func(got, want error) bool { return errors.Is(got, want) && (want != nil || got == nil) }) {
		b.Errorf("errors %v, want %v", b.errs, want)
	}
	b.errs = nil
}

func (b *bubble) wantSent(alone int, pipelines ...int) {
	b.Helper()
	if diff := cmp.Diff(pipelines, b.sizes); diff != "" || b.alone != alone {
		b.Errorf("%d requests were sent alone, want %d; pipelines (-want +got):\n%s", b.alone, alone, diff)
	}
}

// DialHook implements redis.Hook.
func (b *bubble) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (b *bubble) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			b.mu.Lock()
			b.alone++
			b.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (b *bubble) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "evalsha" {
			b.mu.Lock()
			b.sizes = append(b.sizes, len(cmds))
			b.mu.Unlock()
		}
		return next(ctx, cmds)
	}
}

// A lossyConn fails instead of returning the reply to a script.
type lossyConn struct {
	net.Conn

	lose   *atomic.Int32 // number of replies to lose
	script bool          // the last request ran a script
}

func (c *lossyConn) Write(p []byte) (int, error) {
	c.script = bytes.Contains(p, []byte("evalsha"))
	return c.Conn.Write(p)
}

func (c *lossyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.script && c.lose.Load() > 0 {
		c.lose.Add(-1)
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

func TestRequestsCollectWhileOneIsInFlight(t *testing.T) {
	t.Parallel()
	inBubble(t, func(b *bubble) {
		// Few enough for one read of miniredis, 4 KiB: the pipe between client and server has no
		// buffer, so a reply that is written while requests still are would never be read.
		const requests = 8
		release := b.blockNext()
		for i := range requests {
			b.acquire(b.Context(), i, 1)
			synctest.Wait()
		}
		b.wantSent(1)
		release()
		b.wantErrors(make([]error, requests)...)
		b.wantSent(1, requests-1)
		if members := b.leased(requests); len(members) != requests {
			b.Errorf("members %v have their lease, want all %d", members, requests)
		}
		b.acquire(b.Context(), requests, 1)
		b.wantErrors(nil)
		b.wantSent(2, requests-1)
	})
}

func TestRequestsAfterScriptFlush(t *testing.T) {
	t.Parallel()
	inBubble(t, func(b *bubble) {
		release := b.blockNext()
		for i := range 4 {
			b.acquire(b.Context(), i, 1)
			synctest.Wait()
		}
		release()
		b.wantErrors(make([]error, 4)...)
		release = b.blockNext()
		for i := range 4 {
			b.acquire(b.Context(), 4+i, 1)
			synctest.Wait()
		}
		b.mini.FlushAll() // scripts too, in miniredis
		b.mini.Server().SetPreHook(b.atServer)
		release()
		b.wantErrors(make([]error, 4)...)
	})
}

func TestCanceledRequestBlocksNoOther(t *testing.T) {
	t.Parallel()
	inBubble(t, func(b *bubble) {
		release := b.blockNext()
		ctx, giveUp := context.WithCancel(b.Context())
		for i := range 4 {
			b.acquire(map[bool]context.Context{true: ctx, false: b.Context()}[i == 2], i, 1)
			synctest.Wait()
		}
		giveUp()
		synctest.Wait()
		if !slices.ContainsFunc(b.errs, func(err error) bool { return errors.Is(err, context.Canceled) }) {
			b.Error("the canceled request still waits")
		}
		release()
		b.wantErrors(context.Canceled, nil, nil, nil)
		b.wantSent(1, 2)
		if diff := cmp.Diff([]int{0, 1, 3}, b.leased(4)); diff != "" {
			b.Errorf("leases (-want +got):\n%s", diff)
		}
	})
}

func TestCanceledRequestInPipelineBlocksNoOther(t *testing.T) {
	t.Parallel()
	inBubble(t, func(b *bubble) {
		first := b.blockNext()
		ctx, giveUp := context.WithCancel(b.Context())
		for i := range 4 {
			b.acquire(map[bool]context.Context{true: ctx, false: b.Context()}[i == 1], i, 1)
			synctest.Wait()
		}
		second := b.blockNext()
		first()
		synctest.Wait()
		giveUp() // its request is the first of the pipeline in flight
		synctest.Wait()
		b.wantSent(1, 3)
		if len(b.errs) != 2 || !errors.Is(b.errs[1], context.Canceled) {
			b.Errorf("errors %v, want the first request's nil and %v", b.errs, context.Canceled)
		}
		second()
		b.wantErrors(nil, context.Canceled, nil, nil)
		if diff := cmp.Diff([]int{0, 1, 2, 3}, b.leased(4)); diff != "" { // as after a lost reply
			b.Errorf("leases (-want +got):\n%s", diff)
		}
	})
}

func TestLargeRequestsAreSplitIntoPipelines(t *testing.T) {
	t.Parallel()
	inBubble(t, func(b *bubble) {
		release := b.blockNext()
		for i, events := range []int{1, 800, 350, 2000, 1, 1} { // about seven arguments per event
			b.acquire(b.Context(), i, events)
			synctest.Wait()
		}
		release()
		b.wantErrors(make([]error, 6)...)
		b.wantSent(1, 2, 1, 2)
	})
}

// TestLostPipeline loses the replies to a pipeline: once, and as often as the client sends it.
func TestLostPipeline(t *testing.T) {
	t.Parallel()
	for lost, want := range map[int32]error{1: nil, 2: io.ErrUnexpectedEOF} {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(b *bubble) {
				release := b.blockNext()
				for i := range 4 {
					b.acquire(b.Context(), i, 1)
					synctest.Wait()
				}
				second := b.blockNext()
				release()
				synctest.Wait()
				b.lose.Store(lost)
				second()
				b.wantErrors(nil, want, want, want)
				if members := b.leased(4); len(members) != 4 {
					b.Errorf("members %v have their lease, want all: only the replies were lost", members)
				}
				for i := range 4 {
					b.acquire(b.Context(), i, 1)
				}
				b.wantErrors(nil, nil, nil, nil)
			})
		})
	}
}
