package mapper

import "membersync/mapper/internal/jsontree"

// cloudEvents takes the events of a record: one whose attributes are headers, one in
// an object, or several in a list.
func (u unwrapper) cloudEvents(root jsontree.Value) *Fault {
	if _, ok := u.w.meta.header("ce_specversion"); ok {
		u.cloudEvent(part{event: root})
		return nil
	}
	if !root.IsList() {
		if !root.IsObject() {
			return whole(Malformed, root.Offset(), "is "+jsonType(root)+", not an object")
		}
		u.cloudEvent(u.structured(root))
		return nil
	}
	for entry := range root.Entries() {
		if len(u.w.parts) > maxEmployees {
			return nil // refused as a whole by the caller
		}
		n := len(u.w.parts)
		u.cloudEvent(u.structured(entry))
		for _, p := range u.w.parts[n:] {
			if p.fault != nil {
				p.fault.Whole = false // the other events of the batch are taken
			}
		}
	}
	return nil
}

// cloudEvent goes on from an event's data to the employees. An event without data is one
// without values: it is left for the states to judge.
func (u unwrapper) cloudEvent(p part) {
	if p.fault == nil && !p.event.Absent() && !p.event.IsNull() {
		p.event, p.fault = u.steps(u.w.p.then, p.event)
		if p.fault == nil {
			p.fault = u.employees(p)
			if p.fault == nil {
				return
			}
		}
		p.fault.Whole = true
	}
	u.w.parts = append(u.w.parts, p)
}

// structured takes one event in the form of an object. Its data may be JSON, or JSON in base64.
func (u unwrapper) structured(v jsontree.Value) part {
	p := part{attributes: v, event: v.Member("data")}
	encoded := v.Member("data_base64")
	switch {
	case !v.IsObject():
		p.fault = &Fault{Reason: InvalidEvent, Text: "is " + jsonType(v) + ", not an object", Offset: v.Offset()}
	case !v.Member("specversion").IsText():
		p.fault = &Fault{Reason: InvalidEvent, Path: "specversion", Text: "is missing; a CloudEvent has one", Offset: -1}
	case p.event.Absent() && encoded.IsText():
		p.event, p.fault = u.within(encoded, true)
	}
	if p.fault != nil && p.fault.Whole {
		p.fault.Path = "data_base64"
	}
	return p
}
