package dlq

import (
	"cmp"
	"errors"
	"iter"
	"math"
	"slices"
)

// having returns the items that have the short form of an id.
func (x *Index) having(id ID) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for i, ok := x.items[id.Short()]; ok && yield(&x.entries[i]); ok = i != 0 {
			i = x.entries[i].next
		}
	}
}

// find returns an item by its full id; nil: there is none.
func (x *Index) find(id ID) *entry {
	for e := range x.having(id) {
		if e.id == id {
			return e
		}
	}
	return nil
}

// addEntry adds an item without dead letters.
func (x *Index) addEntry(id ID) *entry {
	position := int32(len(x.entries)) //nolint:gosec // memory runs out earlier
	x.entries = append(x.entries, entry{id: id, failure: -1, firstFailed: math.MaxInt64})
	added := &x.entries[position]
	if first, ok := x.items[id.Short()]; ok {
		added.next, x.entries[first].next = x.entries[first].next, position
	} else {
		x.items[id.Short()] = position
	}
	return added
}

// isWanted reports whether the ids of the query include an item, in full or short form.
func (x *Index) isWanted(id ID) bool {
	return x.wanted == nil || x.wanted[id] || x.wanted[id.Short()]
}

// ambiguous returns an [*AmbiguousIDError] for each short id of the query that several items have.
func (x *Index) ambiguous() error {
	var errs []error
	for _, id := range x.asked {
		if all := x.idsLike(id); id.short && len(all) > 1 {
			errs = append(errs, &AmbiguousIDError{Short: id.String(), IDs: all})
		}
	}
	return errors.Join(errs...)
}

// idsLike returns the ids of the items that have the short form of an id, from the oldest source
// record to the newest.
func (x *Index) idsLike(id ID) []string {
	var all []ID
	for e := range x.having(id) {
		all = append(all, e.id)
	}
	slices.SortFunc(all, func(a, b ID) int { return cmp.Compare(a.timestamp, b.timestamp) })
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = one.String()
	}
	return texts
}

// ShortID returns the short form of an item's id if no other item has the same, whatever its state;
// otherwise the id as it is.
func (x *Index) ShortID(text string) string {
	id, err := ParseID(text)
	if err != nil || x.find(id) == nil || len(x.idsLike(id)) > 1 {
		return text
	}
	return id.Short().String()
}

// Missing returns the ids of the query that no item has.
func (x *Index) Missing() []string {
	var missing []string
	for _, id := range x.asked {
		if id.short && len(x.idsLike(id)) == 0 || !id.short && x.find(id) == nil {
			missing = append(missing, id.String())
		}
	}
	return missing
}

// A Delivery is one delivery of an event: of the source topic, or by a redrive.
type Delivery struct {
	Source  Source // of the source record; of an invalid redrive: of the record itself
	Index   int    // of the event in its record; -1: the record failed whole
	Number  int    // of the redrive; 0: the original
	Edited  int    // the number of the redrive that edited the value; 0: the original value
	Invalid bool   // it is an invalid redrive
}

// ReplaySkips reports whether a replay leaves out a delivery, see [ItemState.ReplaySkips].
func (x *Index) ReplaySkips(d Delivery) bool {
	v, ok := x.StateOf(d)
	return ok && v.ReplaySkips(d.Number, d.Edited)
}

// StateOf looks up the item of a delivery. If no item has its index, it looks for a record that
// failed whole. It reports false if it finds neither.
func (x *Index) StateOf(d Delivery) (v ItemState, ok bool) {
	for _, whole := range []bool{d.Index == wholeRecord, true} {
		if e := x.find(idOf(d.Source, d.Index, whole, d.Invalid)); e != nil {
			return e.itemState(), true
		}
	}
	return ItemState{}, false
}
