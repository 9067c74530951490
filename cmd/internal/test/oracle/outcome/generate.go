package outcome

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// A Spec says how many records to make up.
type Spec struct {
	Seed       uint64
	Events     int // records in all, duplicates and poison included
	Employees  int
	Partitions int
}

// A Script is made-up records in the order of their production, and the world that they are for.
type Script struct {
	World                         World
	Records                       []Record
	Duplicates, Reordered, Poison int
}

// maxRecordBytes leaves room for every record but the oversized.
const maxRecordBytes = 16 << 10

// share is how much of the records is duplicate, reordered and poison each: a hundredth.
const share = 100

// Generate makes up changes of 1 to 3 fields: 1 % are duplicates, 1 % come behind a newer change of the same
// employee, and 1 % are poison of every kind. Some of the duplicate and the reordered go to another partition.
// The same spec makes the same script.
func Generate(spec Spec) Script {
	g := &generator{spec: spec, rng: rand.New(rand.NewPCG(spec.Seed, 0))}
	odd := spec.Events / share
	g.script = Script{
		World: World{Departments: int64(2*spec.Events + 2), MaxRecordBytes: maxRecordBytes},
	}
	for i := range spec.Employees {
		p := newPerson(i)
		g.people = append(g.people, p)
		g.script.World.Members = append(g.script.World.Members, p.member())
	}
	g.fill(spec.Events-odd, odd)
	g.reorder(odd)
	g.duplicate(odd)
	return g.script
}

// A generator makes up one script.
type generator struct {
	spec   Spec
	rng    *rand.Rand
	people []*person
	made   []draft
	script Script
}

// A draft is a record on its way into the script.
type draft struct {
	Record
	employee int
	poison   bool
	moved    bool
}

// fill makes the records, poison at random places.
func (g *generator) fill(n, poison int) {
	kinds := poisons()
	places := g.rng.Perm(n)[:poison]
	slices.Sort(places)
	for i := range n {
		k, bad := slices.BinarySearch(places, i)
		if bad {
			g.made = append(g.made, kinds[k%len(kinds)](g, i, k/len(kinds)))
			g.script.Poison++
			continue
		}
		p := g.somebody()
		g.made = append(g.made, p.draft(g, g.change(p, i)))
	}
}

// somebody is one of a few in every fifth case: the load is skewed.
func (g *generator) somebody() *person {
	if g.rng.IntN(5) == 0 {
		return g.people[g.rng.IntN(max(1, len(g.people)/20))]
	}
	return g.people[g.rng.IntN(len(g.people))]
}

// reorder exchanges a change with the employee's next one.
func (g *generator) reorder(n int) {
	for _, i := range g.rng.Perm(len(g.made)) {
		if g.script.Reordered == n {
			return
		}
		a := &g.made[i]
		next := slices.IndexFunc(g.made[i+1:], func(d draft) bool { return d.employee == a.employee })
		if a.poison || a.moved || next < 0 {
			continue
		}
		b := &g.made[i+1+next]
		if b.poison || b.moved {
			continue
		}
		*a, *b = *b, *a
		a.moved, b.moved = true, true
		g.script.Reordered++
		g.stray(&b.Record, g.script.Reordered)
	}
}

// duplicate puts copies of changes in behind them, and hands the records over.
func (g *generator) duplicate(n int) {
	type placed struct {
		at int
		Record
	}
	var all []placed
	for i, d := range g.made {
		all = append(all, placed{i, d.Record})
	}
	for _, i := range g.rng.Perm(len(g.made)) {
		if g.script.Duplicates == n {
			break
		}
		if g.made[i].poison {
			continue
		}
		g.script.Duplicates++
		r := g.made[i].Record
		g.stray(&r, g.script.Duplicates)
		all = append(all, placed{i + g.rng.IntN(200), r})
	}
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	for _, p := range all {
		g.script.Records = append(g.script.Records, p.Record)
	}
}

// stray sends every third record to another partition.
func (g *generator) stray(r *Record, n int) {
	if n%3 == 0 {
		r.Partition = (r.Partition + 1) % g.spec.Partitions
	}
}

// headers are those of the source: none, or some that are easily spoilt.
func (g *generator) headers(n int) []Header {
	if n%5 != 0 {
		return nil
	}
	return []Header{
		{"source-trace", fmt.Appendf(nil, "trace-%d", n)},
		{"empty", []byte{}},
		{"nil", nil},
		{"dlq.reason", []byte("the source's own")},
		{"orig.dlq.id", []byte{0, 0xff, '\n'}},
		{"source-trace", []byte("twice")},
	}
}
