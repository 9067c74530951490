package intake

import (
	"sync"
	"time"

	"membersync/consumer/intake/source"
	"membersync/consumer/intake/watermark"
)

// accounts is the lock of all accounts, and the retention of the topics.
type accounts struct {
	mu        sync.Mutex
	retention map[string]time.Duration // by topic; 0: unlimited, or not known
}

func newAccounts() *accounts { return &accounts{retention: make(map[string]time.Duration)} }

// A partition is one partition of a topic while this process owns it. The accounts' lock guards all
// of it but topic, id, gen and replayed, and but last, which only its reader uses.
type partition struct {
	topic    string
	id       int
	gen      *generation
	replayed Range // of a replay
	last     lastRead

	mark      *watermark.Watermark // nil until the start is known
	epoch     int32                // raised when the account begins again, because offsets are used again
	committed int64                // as the group has it
	end       int64                // end of the log as of the latest fetch
	target    int64                // end of the log at the assignment; -1 until it is known
	handed    int64                // all records below it are with the handler
}

func (p *partition) buffer() *buffer { return p.gen.buffers.of(p.topic) }

// A record is one record in memory: its place in the watermark and in the buffer. It is small,
// since there are as many as the buffer holds. The accounts' lock guards its last fields.
type record struct {
	part   *partition
	offset int64
	size   int32

	epoch    int32     // of the partition's account when the record was begun
	open     int32     // tickets that are neither finished nor dropped
	released bool      // it has given its place in the buffer back
	aside    bool      // likewise, but it is not finished: it is one of those that the buffer bounds separately
	dropped  bool      // a ticket of it was dropped: it is never finished here
	issued   bool      // its tickets are issued
	first    [1]Ticket // of a record with one event, as most have; saves an allocation
}

// A Delivery is one record, on its way to the handler.
type Delivery struct {
	Topic     string
	Partition int
	Record    source.Record
	FetchedAt time.Time // when Kafka answered the fetch

	accounts *accounts
	rec      *record
}

// A Ticket is one event's place in the account of its partition. Exactly one of Finish and Drop is
// called, once; it panics otherwise, since committing past a lost event is worse than stopping. It
// is safe for concurrent use.
type Ticket struct {
	rec   *record
	spent bool // guarded by the accounts' lock
}

// mu returns the accounts' lock.
func (t *Ticket) mu() *sync.Mutex { return &t.rec.part.gen.accounts.mu }

// Issue returns a ticket for each of n events. A record without events is finished. It is called
// once.
func (d Delivery) Issue(n int) []Ticket {
	d.accounts.mu.Lock()
	defer d.accounts.mu.Unlock()
	d.rec.issued = true
	if d.rec.open = int32(n); n == 0 { //nolint:gosec // the mapper bounds the events of a record
		d.rec.closeLocked()
		return nil
	}
	d.rec.part.gen.pending += n
	tickets := d.rec.first[:]
	if n > 1 {
		tickets = make([]Ticket, n)
	}
	for i := range tickets {
		tickets[i] = Ticket{rec: d.rec}
	}
	return tickets
}

// Finish says that the event has its outcome.
func (t *Ticket) Finish() { t.spend(false) }

// Drop says that this process does not finish the event. Its record is never committed by this
// generation.
func (t *Ticket) Drop() { t.spend(true) }

func (t *Ticket) spend(isDropped bool) {
	t.mu().Lock()
	defer t.mu().Unlock()
	if t.spent {
		panic("intake: a ticket was finished or dropped twice")
	}
	t.spent = true
	t.rec.dropped = t.rec.dropped || isDropped
	if t.rec.open--; t.rec.open == 0 {
		t.rec.closeLocked()
	}
	t.rec.part.gen.ticketSpentLocked()
}

// ReleaseBuffer gives the record's place in the buffer to another record, unless those that have
// done so and are not finished take too much memory. Further calls try again, or do nothing.
func (t *Ticket) ReleaseBuffer() {
	t.mu().Lock()
	defer t.mu().Unlock()
	if r := t.rec; !r.released && !r.aside {
		r.aside = r.part.buffer().setAside(int64(r.size))
	}
}

// IsRevoked reports whether the partition was taken away. It takes no lock.
func (t *Ticket) IsRevoked() bool { return t.rec.part.gen.revoked.Load() }

// IsClosed reports whether the last commit of the partition has been sent. It takes no lock.
func (t *Ticket) IsClosed() bool { return t.rec.part.gen.closed.Load() }

// closeLocked is the one place where an offset becomes committable: every event of the record is
// finished, and none was dropped. The last commit has not been sent, and the account has not begun
// again.
func (r *record) closeLocked() {
	if !r.dropped && !r.part.gen.closed.Load() && r.epoch == r.part.epoch {
		r.part.mark.Done(r.offset)
	}
	r.releaseBufferLocked()
}

func (r *record) releaseBufferLocked() {
	if r.released {
		return
	}
	r.released = true
	if b := r.part.buffer(); r.aside {
		b.returnAside(int64(r.size))
	} else {
		b.records.release(int64(r.size))
	}
}

// begin notes in the watermark that a record was taken in: nothing can commit past it from now on.
// The buffer has admitted it.
func (a *accounts) begin(p *partition, src source.Record, size int32) Delivery {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.mark.Begin(src.Offset, src.Time)
	return Delivery{
		Topic: p.topic, Partition: p.id, Record: src, accounts: a,
		rec: &record{part: p, offset: src.Offset, size: size, epoch: p.epoch},
	}
}

// abandon drops a record for which the handler has issued no tickets.
func (a *accounts) abandon(d Delivery) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !d.rec.issued {
		d.rec.dropped = true
		d.rec.closeLocked()
	}
}

// open begins the account of a partition at an offset.
func (a *accounts) open(p *partition, offset, end int64, stored source.Committed) (isComplete bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.mark, p.committed, p.end, p.target, p.handed = watermark.New(offset), stored.Offset, offset, end, offset
	if offset == stored.Offset {
		p.mark.Restore(stored.Stamp)
	}
	return p.gen.becomesCompleteLocked()
}

// reopen begins the account again at a lower offset. Records of the former account finish without
// counting.
func (a *accounts) reopen(p *partition, offset int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.epoch++
	p.mark, p.end, p.target, p.handed = watermark.New(offset), offset, offset, offset
}

// skip notes that everything below the offset was read, is with the handler, and holds no further
// record.
func (a *accounts) skip(p *partition, next int64) (isComplete bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.mark.Skip(next)
	p.handed = next
	return p.gen.becomesCompleteLocked()
}

func (a *accounts) setEnd(p *partition, end int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.end = end
}

// positions are the offsets of a topic that have moved since the last commit; if unmoved is set,
// all.
func (a *accounts) positions(g *generation, topic string, unmoved bool) []source.Position {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ps []source.Position
	for _, p := range g.partitions {
		if p.mark == nil || g.closed.Load() || p.topic != topic {
			continue
		}
		if offset := p.mark.Committable(); unmoved || offset != p.committed {
			stamp, _ := p.mark.Stamp()
			ps = append(ps, source.Position{Partition: p.id, Offset: offset, Stamp: stamp})
		}
	}
	return ps
}

func (a *accounts) committed(g *generation, topic string, ps []source.Position) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, pos := range ps {
		for _, p := range g.partitions {
			if p.id == pos.Partition && p.topic == topic {
				p.committed = pos.Offset
			}
		}
	}
}

func (a *accounts) pending(g *generation) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return g.pending
}

// revoke marks the tickets of a generation: from now on it is drained.
func (a *accounts) revoke(g *generation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g.revoked.Store(true)
	g.checkDrainedLocked()
}

// close ends the accounts of a generation: its last commit has been sent.
func (a *accounts) close(g *generation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g.closed.Store(true)
}

// A Lag is how far one partition is behind.
type Lag struct {
	Topic     string
	Partition int
	Records   int64         // from the lowest unfinished record to the end of the log
	Age       time.Duration // of the oldest unfinished record
	Retention time.Duration // of the topic; 0: unlimited, or not known
}

// Lags returns the lag of each partition that this process owns and has measured.
func (in *Intake) Lags(now time.Time) []Lag {
	g := in.status.current()
	if g == nil {
		return nil
	}
	in.accounts.mu.Lock()
	defer in.accounts.mu.Unlock()
	lags := make([]Lag, 0, len(g.partitions))
	for _, p := range g.partitions {
		if p.mark == nil {
			continue
		}
		lag := Lag{
			Topic: p.topic, Partition: p.id, Records: max(p.end-p.mark.Committable(), 0),
			Retention: in.accounts.retention[p.topic],
		}
		if oldest, ok := p.mark.Oldest(); ok {
			lag.Age = max(now.Sub(oldest), 0)
		}
		lags = append(lags, lag)
	}
	return lags
}
