package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// A stream generates sample changes, step by step: the same ones for the same seed. A round of
// steps has each kind of sample.
type stream struct {
	rng      *rand.Rand
	prefix   string // of event ids
	sequence int    // of the latest change
	step     int
	latest   sample  // a plain change
	overdue  message // a message to be sent late
}

// A sample is the content of a change.
type sample struct {
	person int
	after  map[string]any
	sent   message
}

func newStream(prefix string, sequence int, seed uint64) *stream {
	return &stream{rng: rand.New(rand.NewPCG(seed, seed)), prefix: prefix, sequence: sequence}
}

// round is the number of steps of a round.
const round = 20

// next returns the messages of the next step, most often one.
func (s *stream) next() []message {
	n := s.step % round
	s.step++
	switch n {
	case 3:
		return one(s.latest.sent.as("delivered again"))
	case 5:
		return one(s.overtaking("position", "email"))
	case 7:
		return one(s.overdue)
	case 8:
		return one(s.clearing())
	case 9:
		return one(s.badValue())
	case 11:
		return one(s.repeated())
	case 12:
		return one(s.unknown())
	case 13:
		return one(s.withBefore())
	case 14:
		return one(s.badBytes())
	case 15:
		return one(s.overtaking("position"))
	case 16:
		return one(s.overdue)
	case 17:
		return one(s.deletion())
	case 18:
		return one(s.incomplete())
	case 19:
		return s.burst()
	default:
		return one(s.plain("a change"))
	}
}

func one(m message) []message { return []message{m} }

// as returns the same bytes with another note.
func (m message) as(note string) message {
	m.note = note
	return m
}

func (s *stream) person() int { return 1 + s.rng.IntN(streamPeople) }

// write returns an event with a new number.
func (s *stream) write(note string, person int, before, after map[string]any) message {
	s.sequence++
	return s.numbered(note, s.sequence, person, before, after)
}

func (s *stream) numbered(note string, sequence, person int, before, after map[string]any) message {
	body := map[string]any{
		"eventId": fmt.Sprintf("%s%d", s.prefix, sequence), "sequence": sequence,
		"employeeId": employee(person), "openUserId": member(person), "after": after,
	}
	if before != nil {
		body["before"] = before
	}
	value, err := json.Marshal(body)
	if err != nil {
		panic("devstack: " + err.Error()) // cannot happen: texts and numbers only
	}
	return message{note: note, key: []byte(employee(person)), value: value}
}

// plain changes one to three fields.
func (s *stream) plain(note string) message {
	person := s.person()
	after := map[string]any{}
	for range 1 + s.rng.IntN(3) {
		name := s.pick("position", "email", "mobile", "qq", "weixin", "mainDepartmentId", "attachingDepartmentIds", "hireDate", "leaderId")
		after[name] = s.value(name, person)
	}
	s.latest = sample{person: person, after: after, sent: s.write(note, person, nil, after)}
	return s.latest.sent
}

func (s *stream) pick(texts ...string) string { return texts[s.rng.IntN(len(texts))] }

// value returns a made-up value. A mobile begins with the person's number, since it must be unique.
func (s *stream) value(field string, person int) any {
	n := s.rng.IntN(1000)
	switch field {
	case "position":
		return "Sample " + s.pick("Engineer", "Analyst", "Tester", "Auditor", "Planner", "Writer") + fmt.Sprintf(" %03d", n)
	case "email":
		return fmt.Sprintf("person%d.%03d@sample.invalid", person, n)
	case "mobile":
		return fmt.Sprintf("%05d%06d", person, n)
	case "mainDepartmentId":
		return 1 + n%departments
	case "attachingDepartmentIds":
		return []int{1 + n%departments, 1 + (n+1)%departments}
	case "hireDate":
		return fmt.Sprintf("2026-%02d-%02dT08:00:00Z", 1+n%12, 1+n%28)
	case "leaderId":
		return member(1 + n%streamPeople)
	default:
		return fmt.Sprintf("sample-%d-%03d", person, n)
	}
}

// overtaking creates an older event of some fields, which is kept for later, and a newer one of the
// first of them, which is sent before it.
func (s *stream) overtaking(fields ...string) message {
	person := s.person()
	older := map[string]any{}
	for _, f := range fields {
		older[f] = s.value(f, person)
	}
	note := "late: a newer event was there first"
	if len(fields) > 1 {
		note = "late: only its " + fields[0] + " is old"
	}
	s.overdue = s.write(note, person, nil, older)
	return s.write("overtakes the one before it", person, nil, map[string]any{fields[0]: s.value(fields[0], person)})
}

func (s *stream) clearing() message {
	field, empty := s.pick("email", "qq", "weixin"), any(nil)
	if s.rng.IntN(2) == 0 {
		field, empty = "attachingDepartmentIds", []int{}
	}
	return s.write("a clear", s.person(), nil, map[string]any{field: empty})
}

// repeated states again what the previous change did.
func (s *stream) repeated() message {
	return s.write("the values of the change before", s.latest.person, nil, s.latest.after)
}

// withBefore states all fields, of which one differs.
func (s *stream) withBefore() message {
	person := s.person()
	email := s.value("email", person)
	return s.write("only qq differs", person,
		map[string]any{"qq": "sample-0", "email": email},
		map[string]any{"qq": s.value("qq", person), "email": email})
}

func (s *stream) deletion() message {
	return s.write("a deletion", s.person(), map[string]any{"qq": "sample-0"}, nil)
}

// burst returns several changes of one member at once. They fold.
func (s *stream) burst() []message {
	person := s.person()
	var all []message
	for _, field := range []string{"position", "email", "position", "weixin", "position"} {
		all = append(all, s.write("several at once", person, nil, map[string]any{field: s.value(field, person)}))
	}
	return all
}

func (s *stream) badValue() message {
	person := s.person()
	field, value := "gender", any("X")
	switch s.rng.IntN(4) {
	case 0:
		field, value = "mobile", "000****0009"
	case 1:
		field, value = "fullName", nil
	case 2:
		field, value = "mainDepartmentId", "three"
	}
	return s.write("poison: a bad value", person, nil, map[string]any{field: value})
}

// unknown returns a change of a member, or with a department, that the CRM does not know.
func (s *stream) unknown() message {
	if s.rng.IntN(2) == 0 {
		return s.write("poison: unknown department", s.person(), nil, map[string]any{"mainDepartmentId": 999})
	}
	return s.write("poison: unknown member", unknownPerson, nil, map[string]any{"position": "Sample Ghost"})
}

func (s *stream) incomplete() message {
	s.sequence++
	person := s.person()
	body := fmt.Sprintf(`{"eventId":"%s%d","employeeId":%q,"openUserId":%q,"after":{"qq":"1"}}`, s.prefix, s.sequence, employee(person), member(person))
	return message{note: "poison: no sequence", key: []byte(employee(person)), value: []byte(body)}
}

func (s *stream) badBytes() message {
	m := s.plain("")
	switch s.rng.IntN(4) {
	case 0:
		return message{"poison: cut off", m.key, m.value[:len(m.value)/2]}
	case 1:
		return message{"poison: two values", m.key, append(m.value, m.value...)}
	case 2:
		return message{"poison: an empty value", m.key, []byte{}}
	default:
		return message{"poison: not UTF-8", m.key, append([]byte(`{"eventId":"`), 0xe9, '"', '}')}
	}
}
