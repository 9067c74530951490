package mapper

import (
	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// A masker knows which values of a record may be shown.
type masker struct {
	shown, hidden map[jsontree.Value]bool
	inside        map[jsontree.Value]jsontree.Value // what a text holds, by the text
	none          bool                              // nothing is shown
}

// Mask returns the record's value as JSON in which every value is masked, except the ids, the type,
// the operation, the order and what the mapping file calls public; not even those where it calls
// them personal. Only scalars are shown: an object or a list at such a place is masked as one
// value, since it can hold anything. Texts that the mapping unwraps are shown unwrapped. It is nil
// for a value that cannot be read.
func (m *Mapping) Mask(rec Record) []byte {
	if m.oversized(rec) != nil {
		return nil
	}
	w := m.work(rec)
	defer m.done(w)
	w.masks = &masker{shown: map[jsontree.Value]bool{}, hidden: map[jsontree.Value]bool{}, inside: map[jsontree.Value]jsontree.Value{}}
	if fault := w.open(); fault != nil && w.root.Absent() {
		return nil
	}
	for i := range w.parts {
		w.markPart(&w.parts[i])
	}
	return w.masks.append(nil, w.root)
}

// markPart notes what may be shown of one employee's part.
func (w *work) markPart(p *part) {
	m := interpreter{w: w, p: w.p, part: p}
	m.locate()
	for _, s := range []*source{&w.p.eventID, &w.p.employeeID, &w.p.openUser} {
		m.mark(w.masks.shown, s.from)
		m.mark(w.masks.shown, s.concat)
	}
	m.mark(w.masks.shown, w.p.order.from)
	for _, one := range []*path.Path{w.p.typ, w.p.op} {
		if one != nil {
			m.mark(w.masks.shown, []path.Path{*one})
		}
	}
	m.mark(w.masks.shown, w.p.public)
	for i := range w.p.personal {
		if one := &w.p.personal[i]; one.JQ != nil && !m.marked(w.masks.hidden, one) {
			w.masks.none = true // it is not known what to hide
		}
	}
	m.mark(w.masks.hidden, w.p.personal)
}

func (m *interpreter) mark(in map[jsontree.Value]bool, paths []path.Path) {
	for i := range paths {
		if paths[i].JQ != nil {
			m.marked(in, &paths[i])
			continue
		}
		in[m.at(&paths[i])] = true
	}
}

func (k *masker) append(b []byte, v jsontree.Value) []byte {
	shown, hidden := k.shown[v], k.hidden[v]
	if inner, ok := k.inside[v]; ok {
		v = inner
		shown, hidden = shown || k.shown[v], hidden || k.hidden[v]
	}
	switch isTree := v.IsObject() || v.IsList(); {
	case isTree && (shown || hidden):
		return append(b, `"***"`...)
	case v.IsObject():
		return k.appendObject(b, v)
	case isTree:
		return k.appendList(b, v)
	case shown && !hidden && !k.none, v.IsNull(), string(v.Raw()) == `""`:
		return append(b, v.Raw()...)
	}
	return append(b, `"***"`...)
}

func (k *masker) appendObject(b []byte, v jsontree.Value) []byte {
	b = append(b, '{')
	separator := ""
	for name, member := range v.Members() {
		b = append(append(b, separator...), jsontree.OfText(name, -1).Raw()...)
		b = k.append(append(b, ':'), member)
		separator = ","
	}
	return append(b, '}')
}

func (k *masker) appendList(b []byte, v jsontree.Value) []byte {
	b = append(b, '[')
	separator := ""
	for entry := range v.Entries() {
		b = k.append(append(b, separator...), entry)
		separator = ","
	}
	return append(b, ']')
}
