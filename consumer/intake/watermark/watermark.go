// Package watermark tracks which records of one partition are finished, in
// whatever order they finish, and says up to where the group may commit.
//
// The invariant: the committable offset is never above an unfinished record.
// It does no I/O and reads no clock. Its memory is that of the unfinished records,
// however many have finished above one of them.
package watermark

import (
	"fmt"
	"time"
)

// A Watermark belongs to one partition of one generation. It is not safe for
// concurrent use. The zero value is not usable: see [New].
type Watermark struct {
	entries []entry // begun records in offset order, with finished ones in between; the first is unfinished
	open    int     // how many of them are unfinished
	next    int64   // the offset after the last that was read, records and markers alike
	stamp   Stamp   // of the last record that was begun
}

type entry struct {
	offset int64
	time   time.Time
	before Stamp // of the record that was begun before this one
	done   bool
}

// A Stamp is a record's offset and timestamp, kept with a commit to recognise a
// topic that was deleted and made again under the same name.
type Stamp struct {
	Offset int64
	Time   time.Time
}

// New returns the watermark of a partition that is read from offset start.
func New(start int64) *Watermark {
	return &Watermark{next: start, stamp: Stamp{Offset: -1}}
}

// Restore sets the stamp that was stored with the start: it holds until a record is
// finished. It is called before the first record begins.
func (w *Watermark) Restore(s Stamp) { w.stamp = s }

// Begin notes that the record at offset was taken in. Offsets must rise; it
// panics otherwise, since committing past a lost record is worse than stopping.
func (w *Watermark) Begin(offset int64, ts time.Time) {
	if offset < w.next {
		panic(fmt.Sprintf("watermark: record %d begun after offset %d", offset, w.next-1))
	}
	w.entries = append(w.entries, entry{offset: offset, time: ts, before: w.stamp})
	w.stamp = Stamp{Offset: offset, Time: ts}
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
	if i < 0 || w.entries[i].done {
		panic(fmt.Sprintf("watermark: record %d finished, but not in flight", offset))
	}
	w.entries[i].done = true
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

// Next returns the offset after the last that was read.
func (w *Watermark) Next() int64 { return w.next }

// Stamp returns the offset and timestamp of the highest finished record below
// [Watermark.Committable], and false while there is none.
func (w *Watermark) Stamp() (Stamp, bool) {
	s := w.stamp
	if len(w.entries) > 0 {
		s = w.entries[0].before
	}
	return s, s.Offset >= 0
}

// Oldest returns the timestamp of the lowest unfinished record, and false if none is in flight.
func (w *Watermark) Oldest() (time.Time, bool) {
	if len(w.entries) == 0 {
		return time.Time{}, false
	}
	return w.entries[0].time, true
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
// more than the unfinished ones. The array is small again after that.
func (w *Watermark) tidy() {
	done := 0
	for done < len(w.entries) && w.entries[done].done {
		done++
	}
	w.entries = w.entries[done:]
	if finished := len(w.entries) - w.open; finished > 64 && finished > w.open {
		open := make([]entry, 0, 2*w.open)
		for _, e := range w.entries {
			if !e.done {
				open = append(open, e)
			}
		}
		w.entries = open
	}
}
