package dedupe

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// maxBatchArgs bounds the arguments of one pipeline, but for a single request that has more: some 10 ms of
// Redis, so that all of it is answered far within the client's time-out.
const maxBatchArgs = 8192

// A batcher runs scripts. While one request is under way, those that come are collected, and then
// they go out as one pipeline: beyond a few requests at once, the round trips cost both
// sides more than the scripts do. A request that finds nobody under way goes out at once. In a
// cluster each node has a queue of its own, so that one that fails does not hold up the others.
type batcher struct {
	client redis.UniversalClient
	mu     sync.Mutex
	queues map[string]*queue // by the address of the node that serves the keys; empty for no cluster, or an unknown node
}

func newBatcher(client redis.UniversalClient) *batcher {
	return &batcher{client: client, queues: map[string]*queue{}}
}

// run runs a script whose keys share a slot.
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
	if redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") { // nothing ran, and EVAL loads it
		return script.Eval(ctx, b.client, keys, args...)
	}
	return cmd
}

func (b *batcher) queue(ctx context.Context, key string) *queue {
	node := ""
	if cluster, ok := b.client.(*redis.ClusterClient); ok {
		if c, err := cluster.MasterForKey(ctx, key); err == nil { // an error is the command's to find
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

// A queue collects requests while one is under way.
type queue struct {
	client  redis.UniversalClient
	mu      sync.Mutex
	busy    bool
	waiting []*request
}

// A request waits for its turn and its reply.
type request struct {
	ctx  context.Context //nolint:containedctx // of the caller, who may have given up before its turn
	cmd  *redis.Cmd
	done chan struct{}
}

// process leaves the reply, or the error of it, in the command. An error means that the caller's context
// ended first: the command is not to be touched, it may still be under way.
func (q *queue) process(ctx context.Context, cmd *redis.Cmd) error {
	q.mu.Lock()
	if !q.busy {
		q.busy = true
		q.mu.Unlock()
		defer q.next(ctx)
		_ = q.client.Process(ctx, cmd) // the command has it too
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

// next has what was collected sent, in the background, since the caller has its reply.
func (q *queue) next(ctx context.Context) {
	if batch := q.take(); batch != nil {
		go q.send(context.WithoutCancel(ctx), batch) // one that gives up does not end it for the others
	}
}

// send ends when nothing is left to send, or with the client's time-outs.
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

// take removes the next batch from the queue, without those that gave up; with none left, the queue is idle.
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
