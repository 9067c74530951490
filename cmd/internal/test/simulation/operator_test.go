package simulation

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/test/oracle/history"
	"membersync/dedupe"
	"membersync/dlq"
)

// An operator does what the commands of the on-call engineer do. Its network fails like that of an
// instance.
type operator struct {
	w         *world
	host      *host
	transport *kafka.Transport
	kafka     *kafka.Client
	cache     redis.UniversalClient
	store     *dedupe.Store
	reader    *dlq.Reader
	audit     *dlq.Auditor
	redriver  *dlq.Redriver

	// turn is held by the running operation and guards the fields below. It is not a mutex, since
	// virtual time does not advance while a goroutine waits for one.
	turn     chan struct{}
	pauses   []history.Pause
	edits    int
	released []time.Time       // when held events were released
	last     dlq.Redrive       // the latest one sent
	forged   map[string]string // kind of forgery by place
}

func newOperator(w *world) *operator {
	o := &operator{w: w, host: newHost(), turn: make(chan struct{}, 1), forged: make(map[string]string)}
	o.transport = &kafka.Transport{
		ClientID: "operator", DialTimeout: 5 * time.Second, MetadataTopics: topics(),
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return o.host.dial(ctx, "kafka", func(ctx context.Context) (net.Conn, error) {
				return w.kafka.network.DialContext(ctx, network, addr)
			})
		},
	}
	o.kafka = &kafka.Client{Addr: kafka.TCP(w.kafka.fake.ListenAddrs()...), Transport: o.transport}
	o.cache = o.host.redis(w, 0)
	o.store = w.newStore(o.cache)
	o.reader = dlq.NewReader(o.kafka, allTopics())
	o.audit = dlq.NewAuditor(o.kafka, audits)
	o.redriver = dlq.NewRedriver(o.kafka, redrives)
	return o
}

func (o *operator) close() {
	o.transport.CloseIdleConnections()
	_ = o.cache.Close()
	o.host.kill()
}

func stateKey() []byte { return []byte("sim state key") }

func editDigest() dlq.ValueDigest { return dlq.NewValueDigest(stateKey()) }

func (w *world) newStore(cache redis.UniversalClient) *dedupe.Store {
	store, err := dedupe.New(cache, dedupe.Options{
		Prefix: "ms", Scope: base + " " + corp, DoneTTL: 24 * time.Hour, Lease: lease,
		Key: stateKey(), DigestTTL: 24 * time.Hour,
	})
	w.must(err)
	return store
}

func (o *operator) once(do func(context.Context, *operator) error) error {
	o.turn <- struct{}{}
	defer func() { <-o.turn }()
	return do(context.Background(), o)
}

func (p *planner) partitions(r *rand.Rand) {
	p.w.settings.partitions = pick[int32](r, 1, 1, 2, 2, 5, 5, 12, 100)
	if p.w.settings.partitions == 100 {
		p.w.tally.fired("100 partitions")
	}
}

// purge deletes the records of many employees at once. That is not a storm.
func (p *planner) purge(r *rand.Rand) { p.w.settings.purge = between(r, 5*time.Second, p.w.horizon/2) }

// largeBatches produces large batches to many partitions at once: together they are more than an
// instance may request.
func (p *planner) largeBatches(r *rand.Rand) {
	p.w.settings.partitions = 12
	p.w.settings.burst = between(r, 5*time.Second, p.w.horizon-10*time.Second)
}

func pauseKinds() []string { return []string{"pause", "pause for a time", "pause prolonged", "resume"} }

// pauses makes the operator pause all calls, for a time or until resume.
func (p *planner) pauses(r *rand.Rand) {
	for range 1 + r.IntN(2) {
		at, wait := between(r, 5*time.Second, p.w.horizon-20*time.Second), between(r, 5*time.Second, 40*time.Second)
		if r.IntN(3) == 0 {
			p.operate(at, "pause for a time", func(ctx context.Context, o *operator) error {
				p.w.tally.fired("pause for a time")
				return o.pause(ctx, time.Now().Add(wait))
			})
			continue
		}
		p.operate(at, "pause", func(ctx context.Context, o *operator) error {
			p.w.tally.fired("pause")
			return o.pause(ctx, time.Time{})
		})
		if r.IntN(3) == 0 {
			p.operate(at+wait/2, "pause prolonged", func(ctx context.Context, o *operator) error {
				p.w.tally.fired("pause prolonged")
				return o.pause(ctx, time.Time{})
			})
		}
		p.operate(at+wait, "resume", func(ctx context.Context, o *operator) error {
			p.w.tally.fired("resume")
			return o.resume(ctx)
		})
	}
	p.operate(p.w.horizon+time.Minute, "last resume", func(ctx context.Context, o *operator) error { return o.resume(ctx) })
}

// pause records when calls must stop: from the time the request was certainly written.
func (o *operator) pause(ctx context.Context, until time.Time) error {
	o.endPause(time.Now()) // in case the request is lost or the other pause ends
	if err := o.store.Pause(ctx, until, "note", "operator"); err != nil {
		return err
	}
	o.pauses = append(o.pauses, history.Pause{From: time.Now(), To: until})
	return nil
}

func (o *operator) resume(ctx context.Context) error {
	o.endPause(time.Now())
	return o.store.Resume(ctx)
}

func (o *operator) endPause(now time.Time) {
	if n := len(o.pauses); n > 0 && (o.pauses[n-1].To.IsZero() || o.pauses[n-1].To.After(now)) {
		o.pauses[n-1].To = now
	}
}

// allPauses returns the pauses. Those without an end last until now.
func (o *operator) allPauses() []history.Pause {
	o.turn <- struct{}{}
	defer func() { <-o.turn }()
	o.endPause(time.Now())
	return slices.Clone(o.pauses)
}
