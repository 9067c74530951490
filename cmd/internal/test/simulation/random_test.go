package simulation

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// A random is a seed. What it draws hangs on what it is drawn for and not on when: the order in which goroutines come
// to it makes no difference.
type random uint64

func (d random) roll(what ...any) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprintln(h, what...) // a hash takes all
	return rand.New(rand.NewPCG(uint64(d), h.Sum64()))
}

func (d random) chance(p float64, what ...any) bool { return d.roll(what...).Float64() < p }

// between draws a time from a to b.
func between(r *rand.Rand, a, b time.Duration) time.Duration {
	return a + time.Duration(r.Int64N(int64(b-a)+1))
}

func pick[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }
