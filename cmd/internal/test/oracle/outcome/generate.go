package outcome

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
)

// A Spec describes the records to generate.
type Spec struct {
	Seed       uint64
	Events     int // all records, including duplicates and poison
	Employees  int
	Partitions int
}

// A Script holds generated records in the order of their production, and the world that they need.
type Script struct {
	World                         World
	Records                       []Record
	Duplicates, Reordered, Poison int
}

// maxRecordBytes has room for every record except the oversized ones.
const maxRecordBytes = 16 << 10

// share: one of this many records is a duplicate, one is reordered, and one is poison.
const share = 100

// Generate returns changes of 1 to 3 fields. 1 % are duplicates, 1 % come after a newer change of
// the same employee, and 1 % are poison of every kind. Some of the duplicate and reordered ones go
// to another partition. The same spec generates the same script.
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

// A generator generates one script.
type generator struct {
	spec   Spec
	rng    *rand.Rand
	people []*person
	made   []draft
	script Script
}

// A draft is a record that is not in the script yet.
type draft struct {
	Record
	employee int
	poison   bool
	moved    bool
}

// fill adds the records, with poison at random places.
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
		p := g.drawPerson()
		g.made = append(g.made, p.draft(g, g.change(p, i)))
	}
}

// drawPerson draws one of a few people in every fifth case, so that the load is skewed.
func (g *generator) drawPerson() *person {
	if g.rng.IntN(5) == 0 {
		return g.people[g.rng.IntN(max(1, len(g.people)/20))]
	}
	return g.people[g.rng.IntN(len(g.people))]
}

// reorder swaps a change with the employee's next one.
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

// duplicate inserts copies of changes after them, and adds the records to the script.
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

// stray moves every third record to another partition.
func (g *generator) stray(r *Record, n int) {
	if n%3 == 0 {
		r.Partition = (r.Partition + 1) % g.spec.Partitions
	}
}

// headers returns headers of the source: none, or some that are easily damaged.
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
