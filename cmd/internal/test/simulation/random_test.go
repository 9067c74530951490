package simulation

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// A random is a seed. A draw depends on its labels and not on the time, so that the order in which
// goroutines draw makes no difference.
type random uint64

func (d random) roll(what ...any) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprintln(h, what...) // a hash returns no error
	return rand.New(rand.NewPCG(uint64(d), h.Sum64()))
}

func (d random) chance(p float64, what ...any) bool { return d.roll(what...).Float64() < p }

// between draws a time from a to b.
func between(r *rand.Rand, a, b time.Duration) time.Duration {
	return a + time.Duration(r.Int64N(int64(b-a)+1))
}

func pick[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }
