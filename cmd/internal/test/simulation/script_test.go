package simulation

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	maxRecordBytes  = 4 << 10 // that the mapping accepts
	maxFetchedBytes = 1 << 20 // that are read at all
)

// A script is what is produced, and when.
type script struct {
	members     []string
	departments int64
	records     []draft
}

// A draft is a record that is not produced yet.
type draft struct {
	at        time.Duration
	age       time.Duration // of the producer's timestamp
	partition int32
	member    string
	key       []byte
	value     []byte
	headers   []kgo.RecordHeader
}

// A writer generates one script.
type writer struct {
	w      *world
	r      *rand.Rand
	people []*person
	n      int // events so far: each has unique values
	script script
}

// A person is a made-up employee.
type person struct {
	number int
	next   uint64
	held   map[string]any   // as of the latest change
	past   map[string][]any // all previous values
	last   change           // the latest change
	copied bool             // it was produced twice
	tied   bool             // it has the sequence of the previous one
}

// A change is the canonical event. Nil members are left out.
type change struct {
	ID       string         `json:"eventId,omitempty"`
	Sequence any            `json:"sequence,omitempty"`
	Employee string         `json:"employeeId,omitempty"`
	Member   string         `json:"openUserId,omitempty"`
	Before   map[string]any `json:"before,omitempty"`
	After    map[string]any `json:"after"`
}

func fieldNames() []string {
	return []string{"position", "email", "qq", "weixin", "fullName", "employeeNumber", "mobile", "hireDate", "mainDepartmentId"}
}

func newScript(w *world) script {
	s := &writer{w: w, r: w.random.roll("script")}
	events := cmp.Or(w.settings.events, 100+s.r.IntN(201))
	s.script.departments = int64(events)
	for i := range 10 + s.r.IntN(21) {
		s.people = append(s.people, &person{number: i, next: 1, held: make(map[string]any), past: make(map[string][]any)})
		s.script.members = append(s.script.members, memberOf(i))
	}
	var ats []time.Duration
	for range events {
		ats = append(ats, between(s.r, 0, w.horizon))
	}
	slices.Sort(ats)
	for _, at := range ats {
		s.n++
		s.record(at)
	}
	s.purge()
	s.burst()
	slices.SortStableFunc(s.script.records, func(a, b draft) int { return cmp.Compare(a.at, b.at) })
	return s.script
}

// purge adds tombstones, as a topic that follows a table has them when rows are deleted.
func (s *writer) purge() {
	at := s.w.settings.purge
	if at == 0 {
		return
	}
	for i := range 150 + s.r.IntN(150) {
		s.add(s.draft(at, s.people[i%len(s.people)], nil))
	}
}

// burst adds changes that are large on the wire, one batch of them for each partition. A batch fits
// into an instance's smallest memory.
func (s *writer) burst() {
	at := s.w.settings.burst
	if at == 0 {
		return
	}
	for i := range 5 * s.w.settings.partitions {
		p := s.people[int(i)%len(s.people)]
		s.n++
		d := s.draft(at, p, marshal(s.change(p)))
		d.partition = i % s.w.settings.partitions
		large := make([]byte, 4<<10)
		for i := 0; i < len(large); i += 8 { // does not compress
			binary.LittleEndian.PutUint64(large[i:], s.r.Uint64())
		}
		d.headers = append(d.headers, kgo.RecordHeader{Key: "large", Value: large})
		s.add(d)
	}
}

func (s *writer) record(at time.Duration) {
	p := s.people[s.r.IntN(len(s.people))]
	if s.r.IntN(3) == 0 { // so that the load is skewed
		p = s.people[s.r.IntN(1+len(s.people)/5)]
	}
	if s.r.IntN(12) == 0 {
		s.poison(at, p)
		return
	}
	c := s.change(p)
	d := s.draft(at, p, marshal(c))
	if s.r.IntN(8) == 0 {
		s.w.tally.fired("reordered")
		d.at += between(s.r, 100*time.Millisecond, 20*time.Second)
	}
	s.add(d)
	if p.copied = !p.tied && s.r.IntN(25) == 0; p.copied { // a copied change with a tied order has no defined order
		s.w.tally.fired("duplicate")
		d.at += between(s.r, 0, 30*time.Second)
		d.partition = pick(s.r, d.partition, d.partition, s.r.Int32N(s.w.settings.partitions))
		s.add(d)
	}
}

func (s *writer) add(d draft) { s.script.records = append(s.script.records, d) }

func (s *writer) draft(at time.Duration, p *person, value []byte) draft {
	d := draft{
		at: at, member: memberOf(p.number), partition: int32(p.number) % s.w.settings.partitions, //nolint:gosec // small
		key: []byte(employeeOf(memberOf(p.number))), value: value,
	}
	if s.r.IntN(12) == 0 {
		s.w.tally.fired("stray")
		d.partition = s.r.Int32N(s.w.settings.partitions)
	}
	if s.r.IntN(5) == 0 {
		d.headers = []kgo.RecordHeader{
			{Key: "trace", Value: []byte("t")},
			{Key: "dlq.reason", Value: []byte("its own")},
			{Key: "orig.dlq.id", Value: []byte{0, 0xff}},
			{Key: "redrive.number", Value: []byte("7")},
			{Key: "orig.redrive.note", Value: []byte("its own")},
			{Key: "redrive.edited", Value: []byte("true")},
			{Key: "nil"},
			{Key: "trace", Value: []byte{}},
		}
	}
	if s.w.settings.appendTime {
		d.age = between(s.r, -time.Hour, time.Hour)
	}
	if s.r.Float64() < s.w.settings.headers {
		s.w.tally.fired("very many headers")
		for i := range 100 + s.r.IntN(2000) {
			d.headers = append(d.headers, kgo.RecordHeader{Key: fmt.Sprint("h", i), Value: []byte("v")})
		}
	}
	return d
}

// change returns a change of 1 to 3 fields.
func (s *writer) change(p *person) change {
	c := change{
		ID: fmt.Sprintf("ev-%d", s.n), Employee: employeeOf(memberOf(p.number)), Member: memberOf(p.number), Sequence: p.next,
		Before: make(map[string]any), After: make(map[string]any),
	}
	p.tied = false
	switch s.r.IntN(40) {
	case 0:
		c.Sequence = fmt.Sprint(p.next)
	case 1: // as the previous one; then the place in the log decides
		if p.last.ID != "" && !p.copied {
			s.w.tally.fired("tie")
			c.Sequence, p.tied = p.last.Sequence, true
		}
	case 2: // a new event nevertheless
		if p.last.ID != "" {
			s.w.tally.fired("reused id")
			c.ID = p.last.ID
		}
	}
	p.last = c
	p.next += 1 + s.r.Uint64N(3)
	for range 1 + s.r.IntN(3) {
		s.set(p, &c, pick(s.r, fieldNames()...))
	}
	return c
}

// set states a field, with a new value or sometimes with an earlier one of the member.
func (s *writer) set(p *person, c *change, name string) {
	if _, twice := c.After[name]; twice {
		return
	}
	value := s.value(name)
	if past := p.past[name]; len(past) > 0 && s.r.IntN(3) == 0 {
		value = past[max(0, len(past)-1-s.r.IntN(3))]
	}
	if old, ok := p.held[name]; ok && s.r.IntN(5) < 2 {
		c.Before[name] = old
	}
	c.After[name] = value
	p.held[name] = value
	p.past[name] = append(p.past[name], value)
}

func (s *writer) value(name string) any {
	switch {
	case name == "mainDepartmentId":
		return s.n
	case name == "hireDate":
		return int64(s.n) * 86_400_000
	case name == "mobile":
		return fmt.Sprintf("%011d", s.n)
	case s.r.IntN(30) == 0 && (name == "position" || name == "qq"):
		return nil
	}
	return fmt.Sprintf("%s-%d", name, s.n)
}

func marshal(c change) []byte {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return b
}

// poisonKinds returns the kinds of poison.
func poisonKinds() []string {
	return []string{
		"cut", "trailing", "twice", "tombstone", "oversized", "no employee", "gender", "department", "unknown member",
		"refused", "rejected", "null after", "deletion", "order",
	}
}

// poison adds a record with a fault.
func (s *writer) poison(at time.Duration, p *person) {
	kind := pick(s.r, poisonKinds()...)
	s.w.tally.fired("poison: " + kind)
	next := p.next
	p.next += 2
	c := change{
		ID: fmt.Sprintf("ev-%d", s.n), Employee: employeeOf(memberOf(p.number)), Member: memberOf(p.number), Sequence: next,
		After: map[string]any{"weixin": fmt.Sprintf("poison-%d", s.n)},
	}
	switch kind {
	case "no employee":
		c.Employee = ""
	case "gender":
		c.After["gender"] = "X"
	case "department":
		c.After["mainDepartmentId"] = 1_000_000 + s.n
	case "unknown member":
		stranger := &person{number: 9000 + s.n%3}
		c.Member, c.Employee = memberOf(stranger.number), employeeOf(memberOf(stranger.number))
	case "refused":
		c.After["position"] = fmt.Sprintf("%s%d", refused, s.n)
	case "rejected":
		c.After["qq"] = fmt.Sprintf("%s%d", rejected, s.n)
	case "null after", "deletion":
		c.After = nil
		if kind == "deletion" {
			c.Before = map[string]any{"position": "was"}
		}
	case "order":
		s.w.tally.fired("bad order")
		c.Sequence = pick[any](s.r, "x", -1, 1.5, json.Number("10000000000000000000"), "", nil, true)
	}
	s.add(s.draft(at, p, spoil(kind, marshal(c))))
}

// spoil damages the bytes as the kind says.
func spoil(kind string, value []byte) []byte {
	switch kind {
	case "cut":
		return value[:len(value)*2/3]
	case "trailing":
		return append(value, " {}"...)
	case "twice":
		return append([]byte(`{"eventId":"other",`), value[1:]...)
	case "tombstone":
		return nil
	case "oversized":
		return append(value, strings.Repeat(" ", maxRecordBytes)...)
	}
	return value
}
