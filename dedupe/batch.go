package dedupe

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// maxBatchArgs limits the number of arguments of one pipeline, except for a single request that has
// more. It is about 10 ms of work for Redis, so all replies arrive well within the client's
// time-out.
const maxBatchArgs = 8192

// A batcher runs scripts. While one request is in flight, new requests are collected and then sent
// as one pipeline: with more than a few concurrent requests, the round trips cost both sides more
// than the scripts do. A request that finds none in flight is sent at once. In a cluster each node
// has its own queue, so that a failing node does not delay the others.
type batcher struct {
	client redis.UniversalClient
	mu     sync.Mutex
	// queues has a queue per address of the node that serves the keys. The address is empty without
	// a cluster, or for an unknown node. Guarded by mu.
	queues map[string]*queue
}

func newBatcher(client redis.UniversalClient) *batcher {
	return &batcher{client: client, queues: map[string]*queue{}}
}

// run runs a script. All its keys must be in the same slot.
func (b *batcher) run(ctx context.Context, script *redis.Script, keys []string, args ...any) *redis.Cmd {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, "evalsha", script.Hash(), len(keys))
	for _, key := range keys {
		all = append(all, key)
	}
	cmd := redis.NewCmd(ctx, append(all, args...)...)
	cmd.SetFirstKeyPos(3)
	if err := b.queue(ctx, keys[0]).process(ctx, cmd); err != nil {
		failed := redis.NewCmd(ctx)
		failed.SetErr(err)
		return failed
	}
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") { // nothing ran, and EVAL loads the script
		return script.Eval(ctx, b.client, keys, args...)
	}
	return cmd
}

func (b *batcher) queue(ctx context.Context, key string) *queue {
	node := ""
	if cluster, ok := b.client.(*redis.ClusterClient); ok {
		// On an error, the command itself will fail.
		if c, err := cluster.MasterForKey(ctx, key); err == nil {
			node = c.Options().Addr
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[node]
	if q == nil {
		q = &queue{client: b.client}
		b.queues[node] = q
	}
	return q
}

// A queue collects requests while one is in flight.
type queue struct {
	client  redis.UniversalClient
	mu      sync.Mutex
	busy    bool
	waiting []*request
}

// A request waits for its turn and then for its reply.
type request struct {
	ctx  context.Context //nolint:containedctx // the caller's; it may end before the request's turn
	cmd  *redis.Cmd
	done chan struct{}
}

// process stores the reply, or its error, in the command. An error returned by process itself means
// that the caller's context ended first. The command must not be used then: it may still be in
// flight.
func (q *queue) process(ctx context.Context, cmd *redis.Cmd) error {
	q.mu.Lock()
	if !q.busy {
		q.busy = true
		q.mu.Unlock()
		defer q.next(ctx)
		_ = q.client.Process(ctx, cmd) // the command holds the error too
		return nil
	}
	r := &request{ctx: ctx, cmd: cmd, done: make(chan struct{})}
	q.waiting = append(q.waiting, r)
	q.mu.Unlock()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next sends the collected requests in the background, since the caller already has its reply.
func (q *queue) next(ctx context.Context) {
	if batch := q.take(); batch != nil {
		// A caller that gives up must not cancel the others.
		go q.send(context.WithoutCancel(ctx), batch)
	}
}

// send returns when no request is left. The client's time-outs bound each pipeline.
func (q *queue) send(ctx context.Context, batch []*request) {
	for ; batch != nil; batch = q.take() {
		pipe := q.client.Pipeline()
		for _, r := range batch {
			_ = pipe.Process(ctx, r.cmd)
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
		for _, r := range batch {
			close(r.done)
		}
	}
}

// take removes the next batch from the queue and leaves out requests whose callers gave up. When no
// request is left, it marks the queue idle and returns nil.
func (q *queue) take() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	var batch []*request
	args := 0
	for i, r := range q.waiting {
		if r.ctx.Err() != nil {
			continue
		}
		if args += len(r.cmd.Args()); args > maxBatchArgs && len(batch) > 0 {
			q.waiting = q.waiting[i:]
			return batch
		}
		batch = append(batch, r)
	}
	q.waiting = nil
	q.busy = batch != nil
	return batch
}
