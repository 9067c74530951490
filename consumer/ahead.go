package consumer

import (
	"context"
	"sync"

	"membersync/consumer/decode"
	"membersync/consumer/deliver"
	"membersync/consumer/event"
	"membersync/consumer/intake"
	"membersync/dedupe"
)

// This file is the stage between decode and lane: events that are done already are recognized in
// batches, and finished without a lane (invariant 14). While that is off, every event goes to its
// lane at once.

// A lookahead has the queues of events that are to be looked up, one for each partition. While one
// batch of a queue is looked up, the next one is collected, so no event waits for others to come.
type lookahead struct {
	recognizer *decode.Recognizer
	running    sync.WaitGroup // queues that are being emptied

	mu     sync.Mutex
	queues map[partitionKey]*lookQueue
	busy   int // queues that are being emptied
	// What is to be reported once they are empty: that the backlog has been read, and that the buffer
	// is full. An event that comes after the latter shows that it is not.
	complete, full bool

	// placing is held for reading while an event is put into its lane, after its ticket was seen not
	// to be revoked. A revoke holds it once between marking the tickets and dropping what is in lanes.
	placing sync.RWMutex
}

// A backlogSignals is notified about the backlog when what was read of it is in lanes.
type backlogSignals interface {
	Complete()
	Full()
}

// signal reports at once, or once the queues are empty.
func (l *lookahead) signal(isFull bool, to backlogSignals) {
	l.mu.Lock()
	if l.busy > 0 {
		l.complete, l.full = l.complete || !isFull, l.full || isFull
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	if isFull {
		to.Full()
	} else {
		to.Complete()
	}
}

// begins and ends count the queues that are being emptied. When the last one is empty, ends reports
// what was signaled in the meantime.
func (l *lookahead) begins() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy++
}

func (l *lookahead) ends(to backlogSignals) {
	l.mu.Lock()
	l.busy--
	var complete, full bool
	if l.busy == 0 {
		complete, full = l.complete, l.full
		l.complete, l.full = false, false
	}
	l.mu.Unlock()
	if complete {
		to.Complete()
	}
	if full {
		to.Full()
	}
}

// entered notes that the buffer had room for an event.
func (l *lookahead) entered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = false
}

type partitionKey struct {
	topic string
	id    int
}

// A lookQueue holds the events of one partition in their order.
type lookQueue struct {
	mu      sync.Mutex
	busy    bool // a goroutine empties it
	waiting []lookItem
	room    chan struct{} // has a value after events were taken out
}

// A lookItem is an event, and the context of its generation.
type lookItem struct {
	ctx context.Context //nolint:containedctx // a queue can hold events of two generations
	ev  *event.Event
}

// lookMost bounds a batch, and what waits for the next one: the answer arrives well within the
// time-out of the client.
const lookMost = 128

func newLookahead(r *decode.Recognizer) *lookahead {
	return &lookahead{recognizer: r, queues: make(map[partitionKey]*lookQueue)}
}

func (l *lookahead) queue(topic string, partition int) *lookQueue {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := partitionKey{topic, partition}
	q := l.queues[key]
	if q == nil {
		q = &lookQueue{room: make(chan struct{}, 1)}
		l.queues[key] = q
	}
	return q
}

// enter puts the events of a record into the queue. It waits while the queue is full. While nothing
// is looked up it waits until the queue is empty, and enters none. Only the reader of the partition
// calls it. The error is the end of the context, when the first n events were entered.
func (q *lookQueue) enter(ctx context.Context, isOn func() bool, events []*event.Event, empty func()) (n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, ev := range events {
		for q.busy && (!isOn() || len(q.waiting) >= lookMost) {
			q.mu.Unlock()
			select {
			case <-ctx.Done():
				q.mu.Lock()
				return i, context.Cause(ctx)
			case <-q.room:
				q.mu.Lock()
			}
		}
		if i == 0 && !isOn() {
			return 0, nil
		}
		q.waiting = append(q.waiting, lookItem{ctx, ev})
		if !q.busy {
			q.busy = true
			empty()
		}
	}
	return len(events), nil
}

// take removes the next batch; nil: the queue is empty, and is no longer being emptied.
func (q *lookQueue) take(into []lookItem) []lookItem {
	q.mu.Lock()
	defer q.mu.Unlock()
	into = append(into[:0], q.waiting...)
	clear(q.waiting)
	q.waiting = q.waiting[:0]
	q.busy = len(into) > 0
	select {
	case q.room <- struct{}{}:
	default:
	}
	return into
}

// enterAll puts the events of a record into their lanes, or where they are looked up first.
func (p *pipeline) enterAll(ctx context.Context, d intake.Delivery, events []*event.Event) error {
	q := p.ahead.queue(d.Topic, d.Partition)
	n, err := q.enter(ctx, p.ahead.recognizer.IsOn, events, func() {
		p.ahead.begins()
		p.ahead.running.Go(func() {
			p.lookUpAll(q)
			p.ahead.ends(backlog{p.schedule})
		})
	})
	if n > 0 {
		p.ahead.entered()
	}
	for err == nil && n < len(events) {
		if err = p.place(ctx, events[n]); err == nil {
			n++
		}
	}
	if err != nil {
		for _, ev := range events[n:] {
			ev.Drop()
		}
	}
	return err
}

// lookUpAll empties a queue.
func (p *pipeline) lookUpAll(q *lookQueue) {
	var items []lookItem
	var events []*event.Event
	var marks []dedupe.EventGrant
	for {
		if items = q.take(items); len(items) == 0 {
			return
		}
		events, marks = events[:0], append(marks[:0], make([]dedupe.EventGrant, len(items))...)
		for _, item := range items {
			events = append(events, item.ev)
		}
		if ctx := items[0].ctx; p.ahead.recognizer.IsOn() && ctx.Err() == nil {
			// After an error the lanes ask: a pause is theirs to begin.
			_ = p.ahead.recognizer.Recognize(ctx, events, func(i int, mark dedupe.EventGrant) { marks[i] = mark })
		}
		for i, item := range items {
			p.leaveQueue(item.ctx, item.ev, marks[i])
		}
		clear(items)
		clear(events)
	}
}

// leaveQueue finishes an event that is done, and puts any other one into its lane. After the end of
// its generation it is dropped.
func (p *pipeline) leaveQueue(ctx context.Context, ev *event.Event, mark dedupe.EventGrant) {
	var err error
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case mark.Done:
		err = p.finishUnrun(ctx, deliver.Duplicate(ev, mark))
	default:
		err = p.place(ctx, ev)
	}
	if err != nil {
		ev.Drop()
	}
}
