package mapper

import (
	"strconv"
	"strings"

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

// An identityReader reads the ids and the order of one employee's event.
type identityReader struct{ m *interpreter }

// identify reads the ids and the order.
func (ir identityReader) identify() {
	if ir.m.p.eventID.record && !ir.m.finds(ir.m.p.eventID.from) {
		ir.m.event.ID = coordinates(ir.m.w.rec)
	} else {
		ir.m.event.ID, _, _ = ir.id("event_id", &ir.m.p.eventID)
	}
	ir.m.event.EmployeeID, _, _ = ir.id("employee_id", &ir.m.p.employeeID)
	var place *path.Path
	var offset int64
	ir.m.event.OpenUserID, place, offset = ir.id("open_user_id", &ir.m.p.openUser)
	if ir.m.p.openUser.lookup != "" && ir.m.event.OpenUserID != "" {
		ir.translateOpenUser(place, offset)
	}
	ir.readOrder()
}

// coordinates identify an event whose source gives it no id.
func coordinates(rec Record) string {
	return rec.Topic + ":" + strconv.Itoa(rec.Partition) + ":" + strconv.FormatInt(rec.Offset, 10) + ":" + natural(rec.Time.UnixMilli())
}

func (ir identityReader) translateOpenUser(place *path.Path, offset int64) {
	found, problem := ir.m.w.lookups.translate(ir.m.p.openUser.lookup, ir.m.event.OpenUserID)
	ir.m.notes.explain("open_user_id", "lookup "+ir.m.p.openUser.lookup, found, problem)
	if problem == "" {
		found, problem = leaf{'"', found}.id()
		if problem != "" {
			problem = "is translated by lookup " + ir.m.p.openUser.lookup + " to what " + problem
		}
	}
	ir.m.event.OpenUserID = found
	if problem != "" {
		ir.m.fail(UnresolvedReference, place.Place(), offset, problem)
	}
}

// id reads an id and says where it stands.
func (ir identityReader) id(name string, s *source) (id string, place *path.Path, offset int64) {
	if len(s.concat) > 0 {
		return ir.joined(name, s)
	}
	v, place, problem := ir.m.first(s.from)
	if problem == "" && name != "event_id" && ir.oneOfSeveral(place) {
		problem = "is the first of several; take the list of employees by envelope.list"
	}
	id, problem = ir.idAt(v, place, problem)
	ir.m.notes.explain(name, place.Text, id, problem)
	return id, place, v.Offset()
}

// oneOfSeveral reports whether a path takes one entry, by its index, of a list of plain values that
// has more of them.
func (ir identityReader) oneOfSeveral(p *path.Path) bool {
	n := len(p.Steps)
	if n == 0 || p.Steps[n-1].Kind != path.Entry {
		return false
	}
	list := *p
	list.Steps = p.Steps[:n-1]
	if v := ir.m.at(&list); v.Len() > 1 {
		_, plain := leafOf(v.Entry(p.Steps[n-1].Index))
		return plain
	}
	return false
}

// idAt reads the id v, which stands at place; problem is what kept it from being found.
func (ir identityReader) idAt(v jsontree.Value, place *path.Path, problem string) (string, string) {
	var id string
	switch l, ok := leafOf(v); {
	case problem != "":
	case v.Absent():
		problem = ir.m.missing(place)
	case !ok:
		problem = "is " + l.what() + ", not a text or an integer"
	case unavailable(v.Raw()):
		problem = "is Debezium's placeholder of an unchanged value"
	case l.isText() && ir.m.p.looksLikeBytes(l.s):
		problem = bytesProblem
	default:
		id, problem = l.id()
	}
	if problem != "" {
		ir.m.fail(InvalidEvent, place.Place(), v.Offset(), problem)
	}
	return id, problem
}

// joined reads an id that is put together.
func (ir identityReader) joined(name string, s *source) (id string, place *path.Path, offset int64) {
	parts := make([]string, len(s.concat))
	for i := range s.concat {
		v, problem := ir.m.find(&s.concat[i])
		if parts[i], problem = ir.idAt(v, &s.concat[i], problem); problem != "" {
			ir.m.notes.explain(name, s.concat[i].Text, "", problem)
			return "", &s.concat[i], v.Offset()
		}
	}
	id = strings.Join(parts, s.separator)
	if len(id) > maxID {
		ir.m.fail(InvalidEvent, s.concat[0].Place(), -1, "is longer than 1024 bytes when put together")
		return "", &s.concat[0], -1
	}
	ir.m.notes.explain(name, "concat", id, "")
	return id, &s.concat[0], -1
}

// An orderRule says what orders the events.
type orderRule struct {
	order
	none  bool
	from  []path.Path
	dates dateRule
}

// readOrder reads the one value that orders the event.
func (ir identityReader) readOrder() {
	rule, rec := &ir.m.p.order, ir.m.w.rec
	if rule.none {
		if rec.Time.UnixMilli() < 0 {
			ir.m.fail(InvalidEvent, "", -1, "is ordered by its record's timestamp, and the record has none")
			return
		}
		ir.orderBy("0") // the version holds the timestamp behind it
		return
	}
	v, place, problem := ir.m.first(rule.from)
	var digits string
	switch {
	case problem != "":
	case v.Absent():
		problem = ir.m.missing(place)
	case rule.kind == byTime:
		digits, problem = ir.orderTime(v)
	default:
		l, _ := leafOf(v)
		digits, problem = sequence(l)
	}
	ir.m.notes.explain("order", place.Text, digits, problem)
	if problem != "" {
		ir.m.fail(InvalidEvent, place.Place(), v.Offset(), problem)
		return
	}
	ir.orderBy(digits)
}

// orderBy sets the order value and the version.
func (ir identityReader) orderBy(digits string) {
	var problem string
	ir.m.event.Order = digits
	if ir.m.event.Version, problem = ir.m.p.order.version(digits, ir.m.w.rec, ir.m.event.Index); problem != "" {
		ir.m.fail(InvalidEvent, "the event", -1, problem)
	}
}

func (ir identityReader) orderTime(v jsontree.Value) (digits, problem string) {
	l, ok := leafOf(v)
	if !ok {
		return "", "is " + l.what() + ", not a time"
	}
	t, _, problem := ir.m.p.order.dates.read(l)
	if problem != "" {
		return "", problem
	}
	return instantDigits(t, ir.m.w.rec.Time, ir.m.w.m.options.MaxAhead)
}
