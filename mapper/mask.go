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
	if fault := (unwrapper{w}).open(); fault != nil && w.root.Absent() {
		return nil
	}
	for i := range w.parts {
		w.masks.markPart(w.interpreter(&w.parts[i]))
	}
	return w.masks.append(nil, w.root)
}

// markPart notes what may be shown of one employee's part.
func (k *masker) markPart(m *interpreter) {
	stateReader{m}.locate()
	for _, s := range []*source{&m.p.eventID, &m.p.employeeID, &m.p.openUser} {
		k.mark(m, k.shown, s.from)
		k.mark(m, k.shown, s.concat)
	}
	k.mark(m, k.shown, m.p.order.from)
	for _, one := range []*path.Path{m.p.typ, m.p.op} {
		if one != nil {
			k.mark(m, k.shown, []path.Path{*one})
		}
	}
	k.mark(m, k.shown, m.p.public)
	for i := range m.p.personal {
		if one := &m.p.personal[i]; one.JQ != nil && !k.marked(m, k.hidden, one) {
			k.none = true // it is not known what to hide
		}
	}
	k.mark(m, k.hidden, m.p.personal)
}

func (k *masker) mark(m *interpreter, in map[jsontree.Value]bool, paths []path.Path) {
	for i := range paths {
		if paths[i].JQ != nil {
			k.marked(m, in, &paths[i])
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

// marked notes the values in the record that a program reads its result from, or reports that its
// text does not tell.
func (k *masker) marked(m *interpreter, in map[jsontree.Value]bool, p *path.Path) bool {
	from := m.part.item
	values, problem := m.w.jq.variables(m, p.JQ.Reads.Variables)
	if problem != "" {
		return false
	}
	places, ok := p.JQ.Paths(m.w.jq.spending(), m.w.jq.plain(from), values)
	for _, place := range places {
		v := from
		for _, step := range place {
			switch step := step.(type) {
			case string:
				v = v.Member(step)
			case int:
				v = v.Entry(step)
			default:
				v = jsontree.Value{}
			}
		}
		if v.Absent() {
			continue
		}
		in[v] = true
	}
	return ok
}
