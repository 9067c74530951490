package mapper

import (
	"slices"
	"strconv"
	"strings"

	"membersync/crmapi"
	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// A source says where an id comes from.
type source struct {
	from      []path.Path
	concat    []path.Path
	separator string
	record    bool // the record's coordinates
	lookup    string
}

// An interpreter reads one employee's part of a record. Its fault is the first that was
// met; it goes on behind it, so that a dead letter is identified as well as can be.
type interpreter struct {
	w             *work
	p             *program
	part          *part
	before, after jsontree.Value
	states        states
	event         Event
	fault         *Fault
	quiet         bool              // steps are not explained: they are those of the old value
	broken        bool              // a jq program failed where its value is part of a decision
	objects       [2]jsontree.Value // the sides of the pairs, for jq programs
}

// member maps the part of one employee.
func (w *work) member(i int) Result {
	m := interpreter{w: w, p: w.p, part: &w.parts[i], event: Event{Index: i, Count: len(w.parts)}}
	if w.explains {
		w.explained = append(w.explained, Explanation{})
	}
	m.locate()
	m.identify()
	m.interpret()
	result := Result{Event: m.event, Fault: m.fault}
	if m.fault != nil && m.fault.Whole {
		result.Event = Event{}
	}
	if w.explains {
		w.explained[i].Result = result
	}
	return result
}

// interpret decides what becomes of the event, and finds what it changes.
func (m *interpreter) interpret() {
	switch {
	case m.routed():
		return
	case m.part.fault != nil:
		m.fault = m.part.fault
		return
	}
	m.readStates()
	switch {
	case m.fault != nil || m.event.Ignored != "":
	case m.carriesNothing(): // before changes, since absent: clear would clear all
		m.fail(NeedsFetch, "", -1, "carries ids and no values")
	default:
		m.changes()
	}
}

// identify reads the ids and the order.
func (m *interpreter) identify() {
	if m.p.eventID.record && !m.finds(m.p.eventID.from) {
		m.event.ID = coordinates(m.w.rec)
	} else {
		m.event.ID, _, _ = m.id("event_id", &m.p.eventID)
	}
	m.event.EmployeeID, _, _ = m.id("employee_id", &m.p.employeeID)
	var place path.Path
	var offset int64
	m.event.OpenUserID, place, offset = m.id("open_user_id", &m.p.openUser)
	if m.p.openUser.lookup != "" && m.event.OpenUserID != "" {
		m.translateOpenUser(place, offset)
	}
	m.readOrder()
}

// finds reports whether there is anything at the paths. A program that fails finds something:
// its fault.
func (m *interpreter) finds(paths []path.Path) bool {
	if len(paths) == 0 {
		return false
	}
	v, _, problem := m.first(paths)
	return problem != "" || !v.Absent() && !v.IsNull()
}

// coordinates identify an event whose source gives it no id.
func coordinates(rec Record) string {
	return rec.Topic + ":" + strconv.Itoa(rec.Partition) + ":" + strconv.FormatInt(rec.Offset, 10) + ":" + natural(rec.Time.UnixMilli())
}

func (m *interpreter) translateOpenUser(place path.Path, offset int64) {
	found, problem := m.w.translate(m.p.openUser.lookup, m.event.OpenUserID)
	m.explain("open_user_id", "lookup "+m.p.openUser.lookup, found, problem)
	if problem == "" {
		found, problem = leaf{'"', found}.id()
		if problem != "" {
			problem = "is translated by lookup " + m.p.openUser.lookup + " to what " + problem
		}
	}
	m.event.OpenUserID = found
	if problem != "" {
		m.fail(UnresolvedReference, place.Place(), offset, problem)
	}
}

func (m *interpreter) fail(reason Reason, place string, offset int64, text string) {
	if m.fault == nil {
		m.fault = &Fault{Reason: reason, Path: place, Text: text, Offset: offset}
	}
}

// at returns the value at a path; a nil path and a value that cannot be read give an absent one.
func (m *interpreter) at(p *path.Path) jsontree.Value {
	if p == nil {
		return jsontree.Value{}
	}
	v, problem := m.find(p)
	if problem != "" && p.JQ != nil { // a program that fails must not look like an absent value
		m.fail(InvalidEvent, p.Place(), -1, problem)
		m.broken = true
	}
	return v
}

// find returns the value at a path that begins at the event or at a root of its own.
func (m *interpreter) find(p *path.Path) (v jsontree.Value, problem string) {
	if p.JQ != nil {
		return m.w.runJQ(m, p.JQ, m.part.item)
	}
	switch p.Root {
	case path.Here, path.Item:
		v = m.part.item
	case path.Event:
		if len(m.w.parts) > fewParts {
			return m.w.once(p, m.part), ""
		}
		v = m.part.event
	case path.After:
		v = m.after
	case path.Before:
		v = m.before
	case path.Key:
		v, problem = m.w.keyValue()
	case path.Header:
		return m.w.headerValue(p.Steps[0].Name)
	case path.Attribute:
		return m.w.attribute(m.part, p.Steps[0].Name)
	}
	return m.w.walk(v, p.Steps, m.part.index), problem
}

// fewParts is the number of employees up to which a record is not worth any measures against
// crafted ones.
const fewParts = 8

// A place is a path in a document.
type place struct {
	path *path.Path
	doc  jsontree.Value
}

// once finds a value of the document once for all of its employees, unless it depends on which they
// are: with a thousand employees in a document of many members, finding it again each time takes
// seconds.
func (w *work) once(p *path.Path, of *part) jsontree.Value {
	if slices.ContainsFunc(p.Steps, func(s path.Step) bool { return s.Kind == path.Current }) {
		return w.walk(of.event, p.Steps, of.index)
	}
	at := place{p, of.event}
	v, ok := w.known[at]
	if !ok {
		v = w.walk(of.event, p.Steps, of.index)
		if w.known == nil {
			w.known = map[place]jsontree.Value{}
		}
		w.known[at] = v
	}
	return v
}

// first returns the first value that is there and is not null, else a null, else an absent one.
func (m *interpreter) first(paths []path.Path) (v jsontree.Value, found path.Path, problem string) {
	found = paths[0]
	for i := range paths {
		now, wrong := m.find(&paths[i])
		switch {
		case wrong != "":
			return now, paths[i], wrong
		case now.Absent():
		case !now.IsNull():
			return now, paths[i], ""
		case v.Absent():
			v, found = now, paths[i]
		}
	}
	return v, found, ""
}

// id reads an id and says where it stands.
func (m *interpreter) id(name string, s *source) (id string, place path.Path, offset int64) {
	if len(s.concat) > 0 {
		return m.joined(name, s)
	}
	v, place, problem := m.first(s.from)
	if problem == "" && name != "event_id" && m.oneOfSeveral(&place) {
		problem = "is the first of several; take the list of employees by envelope.list"
	}
	id, problem = m.idAt(v, &place, problem)
	m.explain(name, place.Text, id, problem)
	return id, place, v.Offset()
}

// oneOfSeveral reports whether a path takes one entry, by its index, of a list of plain values that
// has more of them.
func (m *interpreter) oneOfSeveral(p *path.Path) bool {
	n := len(p.Steps)
	if n == 0 || p.Steps[n-1].Kind != path.Entry {
		return false
	}
	list := *p
	list.Steps = p.Steps[:n-1]
	if v := m.at(&list); v.Len() > 1 {
		_, plain := leafOf(v.Entry(p.Steps[n-1].Index))
		return plain
	}
	return false
}

// idAt reads the id v, which stands at place; problem is what kept it from being found.
func (m *interpreter) idAt(v jsontree.Value, place *path.Path, problem string) (string, string) {
	var id string
	switch l, ok := leafOf(v); {
	case problem != "":
	case v.Absent():
		problem = m.missing(place)
	case !ok:
		problem = "is " + l.what() + ", not a text or an integer"
	case unavailable(v.Raw()):
		problem = "is Debezium's placeholder of an unchanged value"
	case l.isText() && m.w.looksLikeBytes(l.s):
		problem = bytesProblem
	default:
		id, problem = l.id()
	}
	if problem != "" {
		m.fail(InvalidEvent, place.Place(), v.Offset(), problem)
	}
	return id, problem
}

// joined reads an id that is put together.
func (m *interpreter) joined(name string, s *source) (id string, place path.Path, offset int64) {
	parts := make([]string, len(s.concat))
	for i := range s.concat {
		v, problem := m.find(&s.concat[i])
		if parts[i], problem = m.idAt(v, &s.concat[i], problem); problem != "" {
			m.explain(name, s.concat[i].Text, "", problem)
			return "", s.concat[i], v.Offset()
		}
	}
	id = strings.Join(parts, s.separator)
	if len(id) > maxID {
		m.fail(InvalidEvent, s.concat[0].Place(), -1, "is longer than 1024 bytes when put together")
		return "", s.concat[0], -1
	}
	m.explain(name, "concat", id, "")
	return id, s.concat[0], -1
}

// missing words that a value is absent. Where the object has a name that differs only in
// case or separators, the text says so.
func (m *interpreter) missing(p *path.Path) string {
	if m.fault != nil || len(p.Steps) == 0 || len(m.w.parts) > fewParts || p.Root == path.Header || p.Root == path.Attribute {
		return "is missing"
	}
	last := p.Steps[len(p.Steps)-1]
	around := *p
	around.Steps = p.Steps[:len(p.Steps)-1]
	if object := m.at(&around); object.IsObject() && last.Kind == path.Member {
		if variant := nearVariant(object.Raw(), last.Name); variant != "" {
			return "is missing; " + strconv.QuoteToASCII(variant) + " is another name, upper and lower case count"
		}
	}
	return "is missing"
}

// An orderRule says what orders the events.
type orderRule struct {
	order
	none  bool
	from  []path.Path
	dates dateRule
}

// readOrder reads the one value that orders the event.
func (m *interpreter) readOrder() {
	rule, rec := &m.p.order, m.w.rec
	if rule.none {
		if rec.Time.UnixMilli() < 0 {
			m.fail(InvalidEvent, "", -1, "is ordered by its record's timestamp, and the record has none")
			return
		}
		m.orderBy("0") // the version holds the timestamp behind it
		return
	}
	v, place, problem := m.first(rule.from)
	var digits string
	switch {
	case problem != "":
	case v.Absent():
		problem = m.missing(&place)
	case rule.kind == byTime:
		digits, problem = m.orderTime(v)
	default:
		l, _ := leafOf(v)
		digits, problem = sequence(l)
	}
	m.explain("order", place.Text, digits, problem)
	if problem != "" {
		m.fail(InvalidEvent, place.Place(), v.Offset(), problem)
		return
	}
	m.orderBy(digits)
}

// orderBy sets the order value and the version.
func (m *interpreter) orderBy(digits string) {
	var problem string
	m.event.Order = digits
	if m.event.Version, problem = m.p.order.version(digits, m.w.rec, m.event.Index); problem != "" {
		m.fail(InvalidEvent, "the event", -1, problem)
	}
}

func (m *interpreter) orderTime(v jsontree.Value) (digits, problem string) {
	l, ok := leafOf(v)
	if !ok {
		return "", "is " + l.what() + ", not a time"
	}
	t, _, problem := m.p.order.dates.read(l)
	if problem != "" {
		return "", problem
	}
	return instantDigits(t, m.w.rec.Time, m.w.m.options.MaxAhead)
}

// withUpdate sets what the event states.
func (m *interpreter) withUpdate(f crmapi.Field, v crmapi.Value) {
	m.event.Update = m.event.Update.With(f, v)
}
