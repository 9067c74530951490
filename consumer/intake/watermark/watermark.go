// Package watermark tracks which records of one partition are finished, in
// whatever order they finish, and says up to where the group may commit.
//
// The invariant: the committable offset is never above an unfinished record.
// It does no I/O and reads no clock. Its memory is in proportion to the unfinished
// records, however many have finished above one of them.
package watermark

import (
	"fmt"
	"time"
)

// A Watermark belongs to one partition of one generation. It is not safe for
// concurrent use. The zero value is not usable: see [New].
type Watermark struct {
	// entries are begun records in offset order, with finished ones in between. The first is
	// unfinished. Before each unfinished one is the record that was begun before it.
	entries []entry
	open    int   // how many of them are unfinished
	next    int64 // the offset after the last that was read, records and markers alike
	before  Stamp // of the record that was begun before the first of the entries
	stamp   Stamp // of the last record that was begun
}

// An entry is small, since there is one for each record in memory.
type entry struct {
	offset int64
	state  int64 // the record's timestamp in milliseconds, shifted by one bit, and whether it is finished
}

const doneBit = 1

func (e entry) isDone() bool { return e.state&doneBit != 0 }

func (e entry) time() time.Time { return time.UnixMilli(e.state >> doneBit) }

func (e entry) stamp() Stamp { return Stamp{Offset: e.offset, Time: e.time()} }

// A Stamp is a record's offset and timestamp in milliseconds, kept with a commit to recognise a
// topic that was deleted and made again under the same name.
type Stamp struct {
	Offset int64
	Time   time.Time
}

// New returns the watermark of a partition that is read from offset start.
func New(start int64) *Watermark {
	return &Watermark{next: start, before: Stamp{Offset: -1}, stamp: Stamp{Offset: -1}}
}

// Restore sets the stamp that was stored with the start: it holds until a record is
// finished. It is called before the first record begins.
func (w *Watermark) Restore(s Stamp) { w.before, w.stamp = s, s }

// Begin notes that the record at offset was taken in. Offsets must rise; it
// panics otherwise, since committing past a lost record is worse than stopping.
func (w *Watermark) Begin(offset int64, ts time.Time) {
	if offset < w.next {
		panic(fmt.Sprintf("watermark: record %d begun after offset %d", offset, w.next-1))
	}
	if len(w.entries) == 0 {
		w.before = w.stamp
	}
	e := entry{offset: offset, state: ts.UnixMilli() << doneBit}
	w.entries = append(w.entries, e)
	w.stamp = e.stamp()
	w.next = offset + 1
	w.open++
}

// Skip notes that everything below offset next was read and holds no record to
// process: transaction markers, aborted records, offsets that compaction removed.
func (w *Watermark) Skip(next int64) { w.next = max(w.next, next) }

// Done notes that the record at offset is finished. It panics for a record that
// was not begun or is finished already: either would mean a wrong account.
func (w *Watermark) Done(offset int64) {
	i := w.find(offset)
	if i < 0 || w.entries[i].isDone() {
		panic(fmt.Sprintf("watermark: record %d finished, but not in flight", offset))
	}
	w.entries[i].state |= doneBit
	w.open--
	w.tidy()
}

// Committable returns the offset to commit: that of the lowest unfinished
// record or, with none, the next to be read.
func (w *Watermark) Committable() int64 {
	if len(w.entries) > 0 {
		return w.entries[0].offset
	}
	return w.next
}

// Stamp returns the offset and timestamp of the highest finished record below
// [Watermark.Committable], and false while there is none.
func (w *Watermark) Stamp() (Stamp, bool) {
	s := w.stamp
	if len(w.entries) > 0 {
		s = w.before
	}
	return s, s.Offset >= 0
}

// Oldest returns the timestamp of the lowest unfinished record, and false if none is in flight.
func (w *Watermark) Oldest() (time.Time, bool) {
	if len(w.entries) == 0 {
		return time.Time{}, false
	}
	return w.entries[0].time(), true
}

// Open returns how many records are in flight.
func (w *Watermark) Open() int { return w.open }

func (w *Watermark) find(offset int64) int {
	lo, hi := 0, len(w.entries)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if w.entries[mid].offset < offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(w.entries) || w.entries[lo].offset != offset {
		return -1
	}
	return lo
}

// tidy removes finished records: those at the front at once, the others when they are
// more than twice the unfinished ones, except the last, and those before an unfinished
// one. So at most one for each unfinished record is left, and the array is small again.
func (w *Watermark) tidy() {
	done := 0
	for done < len(w.entries) && w.entries[done].isDone() {
		done++
	}
	if done > 0 {
		w.before = w.entries[done-1].stamp()
		w.entries = w.entries[done:]
	}
	if finished := len(w.entries) - w.open; finished > 64 && finished > 2*w.open {
		left := make([]entry, 0, 3*w.open)
		for i, e := range w.entries {
			if !e.isDone() || i+1 == len(w.entries) || !w.entries[i+1].isDone() {
				left = append(left, e)
			}
		}
		w.entries = left
	}
}
