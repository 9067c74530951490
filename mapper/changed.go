package mapper

import (
	"slices"
	"strings"

	"membersync/mapper/internal/jsontree"
)

// emptyList says what a list of changed fields without entries means.
type emptyList uint8

const (
	emptyUsual emptyList = iota // an empty list of JSON: none; an empty text: invalid_event
	emptyAll                    // every field may have changed
	emptyNone                   // none has
)

// isBitmap reports whether a text stands for several fields at once, such as Salesforce's
// 0x400002 and 4-0x01, or is a number of a column.
func isBitmap(s string) bool {
	if field, bits, ok := strings.Cut(s, "-"); ok && isDigits(field) {
		s = bits
	}
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return isDigits(s)
}

// A changeReader reads the lists of changed and of removed fields.
type changeReader struct{ m *interpreter }

// readChanged reads the names of the fields that changed. Without such a list, all that differ
// count. A list that cannot be read as names must not be taken for one of unmapped names.
func (cr changeReader) readChanged() {
	rule := &cr.m.p.states
	list := cr.m.at(rule.changed)
	if list.Absent() || list.IsNull() {
		return
	}
	names, problem := cr.changedNames(list)
	switch {
	case problem != "":
		cr.m.fail(InvalidEvent, rule.changed.Place(), list.Offset(), problem)
		return
	case len(names) > 0:
		cr.m.states.named, cr.m.states.changed = true, names
		if cr.namesMember() {
			cr.m.states.named = false // another member: all that the event has is new to it
		}
		return
	case rule.emptyList == emptyAll, rule.emptyList == emptyUsual && cr.m.p.kind == debeziumFlat:
		return // ExtractChangedRecordState writes an empty list for inserts and snapshots
	case rule.emptyList == emptyUsual && !list.IsList():
		cr.m.fail(InvalidEvent, rule.changed.Place(), list.Offset(), "is empty; empty_list says what that means")
		return
	}
	cr.m.states.named = true
}

// changedNames reads the names in a list, or in a text.
func (cr changeReader) changedNames(list jsontree.Value) (names []string, problem string) {
	rule := &cr.m.p.states
	if list.IsText() {
		text := strings.TrimSpace(list.Text())
		switch {
		case text == "":
			return nil, ""
		case text[0] == '[' || text[0] == '{':
			inside, err := cr.m.w.another().ReadInner([]byte(text), int(list.Offset()))
			if err != nil || !inside.IsList() {
				return nil, "is a text that holds neither names nor a JSON list of them"
			}
			list = inside
		case rule.changedSplit != "":
			for name := range strings.SplitSeq(text, rule.changedSplit) {
				if name = strings.TrimSpace(name); name != "" {
					names = append(names, name)
				}
			}
			return cr.onlyNames(names)
		}
	}
	if !list.IsList() {
		return nil, "is " + jsonType(list) + ", not a list of names"
	}
	for entry := range list.Entries() {
		if rule.changedName != nil {
			entry = cr.m.inside(entry, rule.changedName)
		}
		if !entry.IsText() {
			return nil, "has an entry that is no name"
		}
		names = append(names, strings.TrimSpace(entry.Text()))
	}
	return cr.onlyNames(names)
}

// onlyNames refuses what is no name: a bitmap, a number, JSON, and several names that another
// character than that of split parts.
func (cr changeReader) onlyNames(names []string) ([]string, string) {
	for _, name := range names {
		if cr.isChangedName(name) {
			continue
		}
		if name == "" || isBitmap(name) || strings.ContainsAny(name, `"[]{}`) {
			return nil, "has an entry that is no name"
		}
		pieces := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(",;|/ \t\r\n、，；", r) })
		if len(pieces) > 1 && slices.ContainsFunc(pieces, cr.isChangedName) {
			return nil, "has an entry of several names"
		}
	}
	return names, ""
}

// isChangedName reports whether a list of changes calls a field so.
func (cr changeReader) isChangedName(name string) bool {
	return slices.ContainsFunc(cr.m.p.fields, func(f fieldRule) bool { return slices.Contains(f.changedAs, name) })
}

// namesMember reports whether the member's id is among the changed fields.
func (cr changeReader) namesMember() bool {
	for i := range cr.m.p.openUser.from {
		p := &cr.m.p.openUser.from[i]
		if steps, ok := cr.m.p.states.within(p); ok && slices.Contains(cr.m.states.changed, steps[0].Name) {
			return true
		}
	}
	return false
}

// readRemoved reads the list of removed fields.
func (cr changeReader) readRemoved() {
	rule := &cr.m.p.states
	list := cr.m.at(rule.removed)
	if list.Absent() || list.IsNull() {
		return
	}
	if list.IsText() && strings.TrimSpace(list.Text()) != "" {
		inside, err := cr.m.w.another().ReadInner([]byte(list.Text()), int(list.Offset()))
		if err == nil {
			list = inside
		}
	}
	if !list.IsList() {
		cr.m.fail(InvalidEvent, rule.removed.Place(), list.Offset(), "is "+jsonType(list)+", not a list of names")
		return
	}
	for entry := range list.Entries() {
		if !entry.IsText() {
			cr.m.fail(InvalidEvent, rule.removed.Place(), list.Offset(), "has an entry that is no name")
			return
		}
		cr.m.states.removed = append(cr.m.states.removed, entry.Text())
	}
}
