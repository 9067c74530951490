package intake

import (
	"testing"

	"membersync/consumer/intake/source"
	"membersync/consumer/intake/watermark"
)

// An account is that of one partition, without an intake around it.
type account struct {
	accounts *accounts
	part     *partition
}

func newAccount(offset int64) account {
	a := accountIn(newBuffer(100, 400, func() {}))
	a.part.mark = watermark.New(offset)
	return a
}

// accountIn is an account that has not begun, of a partition that shares a buffer.
func accountIn(b *buffer) account {
	all := newAccounts()
	g := &generation{accounts: all, drained: make(chan struct{}), buffers: buffers{source: b}}
	return account{all, &partition{gen: g}}
}

// begin takes a record with so many events in.
func (a account) begin(t *testing.T, offset int64, events int) []Ticket {
	t.Helper()
	if err := a.part.buffer().admit(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	return a.accounts.begin(a.part, source.Record{Offset: offset}, 1).Issue(events)
}

func (a account) wantCommittable(t *testing.T, want int64, why string) {
	t.Helper()
	if got := a.accounts.committable(a.part); got != want {
		t.Errorf("committable up to %d, want %d: %s", got, want, why)
	}
}

// A record of several employees of which the last never reached a lane, since the partition was
// taken away: the next owner processes it, whatever the outcomes of the others.
func TestRecordThatReachedItsLanesInPartIsNotCommitted(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]bool{"finished before": false, "finished after": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(7)
			tickets := a.begin(t, 7, 3)
			tickets[0].Finish()
			if late {
				tickets[2].Drop()
				tickets[1].Finish()
			} else {
				tickets[1].Finish()
				tickets[2].Drop()
			}
			a.wantCommittable(t, 7, "an event of the record at 7 was dropped")
		})
	}
}

func TestRecordIsCommittableWithItsLastEvent(t *testing.T) {
	t.Parallel()
	a := newAccount(7)
	tickets := a.begin(t, 7, 2)
	tickets[0].Finish()
	a.wantCommittable(t, 7, "an event is open")
	tickets[1].Finish()
	a.wantCommittable(t, 8, "all events are finished")
}

// The topic was recreated, and its offsets are used again: what was read of the old one proves
// nothing about them.
func TestRecordOfAnOldAccountFinishesNothing(t *testing.T) {
	t.Parallel()
	a := newAccount(3)
	before := a.begin(t, 3, 1)
	a.accounts.reopen(a.part, 3)
	after := a.begin(t, 3, 1)
	before[0].Finish()
	a.wantCommittable(t, 3, "only the old record at 3 is finished")
	after[0].Finish()
	a.wantCommittable(t, 4, "the new record at 3 is finished")
}

// After the last commit a partition may belong to another member: what ends then counts for
// nothing.
func TestNothingCountsAfterTheLastCommit(t *testing.T) {
	t.Parallel()
	a := newAccount(3)
	ticket := &a.begin(t, 3, 1)[0]
	a.accounts.revoke(a.part.gen)
	if !ticket.IsRevoked() || ticket.IsClosed() {
		t.Error("after the revoke a ticket is not revoked, or closed already")
	}
	a.accounts.close(a.part.gen)
	ticket.Finish()
	a.wantCommittable(t, 3, "it was finished after the last commit")
	select {
	case <-a.part.gen.drained:
	default:
		t.Error("not drained, though no ticket is open")
	}
}

// A ticket that is finished or dropped twice would let a commit pass an event that is not finished.
func TestTicketIsSpentOnce(t *testing.T) {
	t.Parallel()
	for name, spend := range map[string][2]func(*Ticket){
		"finished twice":         {(*Ticket).Finish, (*Ticket).Finish},
		"dropped, then finished": {(*Ticket).Drop, (*Ticket).Finish},
		"finished, then dropped": {(*Ticket).Finish, (*Ticket).Drop},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ticket := &newAccount(3).begin(t, 3, 2)[0]
			spend[0](ticket)
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			spend[1](ticket)
		})
	}
}

// beginAdmitted begins a record of one event that the buffer has admitted.
func (a account) beginAdmitted(offset int64) Ticket {
	return a.accounts.begin(a.part, source.Record{Offset: offset}, 1).Issue(1)[0]
}

// The last record of a partition may still be decoded when another partition's end is read: calls
// that no longer wait for it would send a member's fields twice.
func TestTheBacklogIsCompleteOnceItsLastRecordIsHandedOver(t *testing.T) {
	t.Parallel()
	a := accountIn(newBuffer(100, 400, func() {}))
	other := &partition{id: 1, gen: a.part.gen}
	a.part.gen.partitions = []*partition{a.part, other}
	if a.accounts.open(a.part, 0, 1, source.Committed{Offset: -1}) || a.accounts.open(other, 5, 8, source.Committed{Offset: 5}) {
		t.Error("complete before a record was read")
	}
	a.begin(t, 0, 1)
	if a.accounts.skip(other, 8) {
		t.Error("complete, though the record at 0 has only begun")
	}
	if !a.accounts.skip(a.part, 1) {
		t.Error("not complete, though all records are handed over")
	}
	if a.accounts.skip(a.part, 2) {
		t.Error("complete a second time")
	}
}
