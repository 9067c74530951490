package watermark_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"membersync/consumer/intake/watermark"
)

func at(offset int64) time.Time { return time.UnixMilli(1_000_000 + offset) }

func TestCommittableIsTheLowestUnfinished(t *testing.T) {
	t.Parallel()
	w := watermark.New(10)
	want := func(offset int64) {
		t.Helper()
		if got := w.Committable(); got != offset {
			t.Fatalf("Committable() = %d, want %d", got, offset)
		}
	}
	want(10)
	for _, offset := range []int64{10, 11, 15} {
		w.Begin(offset, at(offset))
	}
	want(10)
	w.Done(15)
	want(10)
	w.Done(10)
	want(11)
	w.Done(11)
	want(16)
	w.Skip(20) // markers after the last record
	want(20)
	w.Skip(3)
	want(20)
}

func TestStampIsTheRecordBelowTheCommit(t *testing.T) {
	t.Parallel()
	w := watermark.New(0)
	if _, ok := w.Stamp(); ok {
		t.Fatal("a stamp before the first record finished")
	}
	w.Begin(4, at(4))
	w.Begin(5, at(5))
	w.Done(5)
	if _, ok := w.Stamp(); ok {
		t.Fatal("a stamp above an unfinished record")
	}
	w.Done(4)
	if s, ok := w.Stamp(); !ok || s.Offset != 5 || !s.Time.Equal(at(5)) {
		t.Fatalf("Stamp() = %v, %v, want offset 5", s, ok)
	}
}

// Committing past a lost record is worse than a panic.
func TestInconsistentCallsPanic(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*watermark.Watermark){
		"begun twice":    func(w *watermark.Watermark) { w.Begin(1, at(1)) },
		"begun below":    func(w *watermark.Watermark) { w.Begin(0, at(0)) },
		"finished twice": func(w *watermark.Watermark) { w.Begin(2, at(2)); w.Done(2); w.Done(2) },
		"never begun":    func(w *watermark.Watermark) { w.Done(7) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watermark.New(0)
			w.Begin(1, at(1))
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f(w)
		})
	}
}

func TestOldestIsTheLowestInFlight(t *testing.T) {
	t.Parallel()
	w := watermark.New(0)
	if _, ok := w.Oldest(); ok {
		t.Fatal("something in flight in an empty watermark")
	}
	w.Begin(0, at(0))
	w.Begin(1, at(1))
	w.Done(0)
	if got, ok := w.Oldest(); !ok || !got.Equal(at(1)) || w.Open() != 1 {
		t.Fatalf("Oldest() = %v, %v with %d open", got, ok, w.Open())
	}
}

// FuzzWatermark compares a watermark with the simplest model: a list of unfinished offsets.
func FuzzWatermark(f *testing.F) {
	f.Add(uint64(1), uint16(50))
	f.Add(uint64(7), uint16(1000))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		w, next := watermark.New(0), int64(0)
		var open []int64
		for range min(int(steps), 2000) {
			switch k := rnd.IntN(5); {
			case k < 2:
				next += int64(rnd.IntN(3))
				w.Begin(next, at(next))
				open = append(open, next)
				next++
			case k == 2:
				next += int64(rnd.IntN(4))
				w.Skip(next)
			case len(open) > 0:
				i := rnd.IntN(len(open))
				w.Done(open[i])
				open = append(open[:i], open[i+1:]...)
			}
			want := next
			if len(open) > 0 {
				want = open[0]
			}
			if got := w.Committable(); got != want || w.Open() != len(open) {
				t.Fatalf("Committable() = %d with %d open, want %d with %d", got, w.Open(), want, len(open))
			}
		}
	})
}

// One record that is stuck keeps no memory of those that finish above it.
func TestMemoryIsThatOfUnfinishedRecords(t *testing.T) { //nolint:paralleltest // it measures the whole heap
	w, at := watermark.New(0), time.UnixMilli(1)
	w.Begin(0, at)
	finish := func(from, to int64) {
		for i := from; i < to; i++ {
			w.Begin(i, at)
			w.Done(i)
		}
	}
	finish(1, 1000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	finish(1000, 2_000_000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if after.HeapAlloc > before.HeapAlloc+1<<20 {
		t.Errorf("%d bytes are kept, and %d before two million records finished", after.HeapAlloc, before.HeapAlloc)
	}
	if w.Committable() != 0 || w.Open() != 1 {
		t.Errorf("committable up to %d with %d open", w.Committable(), w.Open())
	}
	w.Done(0)
	if s, ok := w.Stamp(); w.Committable() != 2_000_000 || !ok || s.Offset != 1_999_999 {
		t.Errorf("committable up to %d, stamp %+v", w.Committable(), s)
	}
}

// The stamp is that of the highest record below the committable offset, also after finished records
// between unfinished ones were removed.
func TestStampIsThatBelowTheCommittableOffset(t *testing.T) {
	t.Parallel()
	const records = 4000
	draw := rand.New(rand.NewPCG(1, 2))
	w := watermark.New(0)
	var open []int64
	for n := range int64(records) {
		offset := 2 * n
		w.Begin(offset, at(offset))
		open = append(open, offset)
		for len(open) > 20 {
			i := 1 + draw.IntN(len(open)-1) // the first stays open, so that finished ones pile up
			if n%500 == 0 {
				i = 0
			}
			w.Done(open[i])
			open = slices.Delete(open, i, i+1)
		}
		s, ok := w.Stamp()
		if want := w.Committable() - 2; ok != (want >= 0) || ok && (s.Offset != want || !s.Time.Equal(at(want))) {
			t.Fatalf("stamp %+v, %v below %d", s, ok, w.Committable())
		}
	}
}
