package intake

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"membersync/dlq/partlog"
)

var errTestOver = errors.New("the test is over")

func (r *room) tryAcquire(size int64) bool {
	if !r.records.TryAcquire(1) {
		return false
	}
	if !r.bytes.TryAcquire(r.clip(size)) {
		r.records.Release(1)
		return false
	}
	return true
}

// A backlog of the source topic takes no memory from the redrive topic, which keeps a twentieth.
func TestTheRedriveTopicKeepsItsShare(t *testing.T) {
	t.Parallel()
	cfg := Config{Topic: "in", Redrives: "redrive", BufferRecords: 100, BufferBytes: 80_000}
	b := newBuffers(&cfg, func() {})
	admitted := func(topic string, size int64) (n int) {
		for b.of(topic).records.tryAcquire(size) {
			n++
		}
		return n
	}
	if n := admitted("in", 1); n != 95 {
		t.Errorf("the source topic has %d places, want 95", n)
	}
	if n := admitted("redrive", 1); n != 5 {
		t.Errorf("the redrive topic has %d places, want 5", n)
	}
	b = newBuffers(&cfg, func() {})
	if n := admitted("in", 1000); n != 52 {
		t.Errorf("the source topic has room for %d records of 1,000 bytes, want 52: eleven sixteenths of 95 %%", n)
	}
	if n := admitted("redrive", 1000); n != 2 {
		t.Errorf("the redrive topic has room for %d records of 1,000 bytes, want 2", n)
	}
	for _, topic := range []string{"in", "redrive"} {
		all := b.of(topic).records.maxBytes
		for _, f := range []partlog.Budget{b.of(topic).fetches, b.of(topic).looks} {
			all += f.Responses.Bytes() + f.Decoders.Bytes() + f.Records.Bytes()
		}
		if want := map[string]int64{"in": 76_000, "redrive": 4_000}[topic]; all != want {
			t.Errorf("%s: %d bytes in all, want %d", topic, all, want)
		}
	}
}

func TestAFetchShrinksWithTheNumberOfPartitions(t *testing.T) {
	t.Parallel()
	b := newBuffer(100, 32<<20, func() {})
	for partitions, want := range map[int]int64{0: 256 << 10, 1: 256 << 10, 12: 256 << 10, 16: 209715, 100: 33554, 100_000: 1 << 10} {
		if got := b.fetchBytes(partitions); got != want {
			t.Errorf("%d partitions: a fetch requests %d bytes, want %d", partitions, got, want)
		}
	}
}

// What waits for an event further on gives its place to other records. That is bounded by what they
// cost in memory; the others keep their places, until one of those is finished.
func TestRecordsThatWaitAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const places = 4
		a := accountIn(newBuffer(places, asideBytes*places/asideFactor+asideBytes/2, func() {}))
		a.accounts.reopen(a.part, 0)
		ctx, cancel := context.WithCancelCause(t.Context())
		var tickets []Ticket
		full := make(chan struct{})
		go func() {
			defer close(full)
			for offset := int64(0); a.part.buffer().admit(ctx, 1) == nil; offset++ {
				ticket := a.beginAdmitted(offset)
				ticket.ReleaseBuffer()
				ticket.ReleaseBuffer() // does nothing
				tickets = append(tickets, ticket)
			}
		}()
		synctest.Wait()
		if len(tickets) != 2*places {
			t.Fatalf("%d records are in memory, want %d", len(tickets), 2*places)
		}
		tickets[0].Finish() // one that was set aside: its successor in the buffer may be set aside now
		synctest.Wait()
		if len(tickets) != 2*places {
			t.Fatalf("%d records, want %d: no record has given its place back", len(tickets), 2*places)
		}
		tickets[places].ReleaseBuffer()
		synctest.Wait()
		if len(tickets) != 2*places+1 {
			t.Errorf("%d records, want %d", len(tickets), 2*places+1)
		}
		cancel(errTestOver)
		<-full
		for i := range tickets[1:] {
			tickets[1+i].Finish()
		}
		if b := a.part.buffer(); !b.records.records.TryAcquire(places) || !b.waiting.TryReserve(asideBytes*places) {
			t.Error("not all places were given back")
		}
	})
}
