package dedupetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"membersync/dedupe"
)

// The model is the expected state in Redis, written in plain Go, together with a CRM whose fields
// the owners set. Owners acquire, call, complete, repeat requests, release, crash and stall in any
// order. Leases expire at any moment. Owners never call after their lease has expired: no state in
// Redis can prevent that.
type model struct {
	f      *fixture
	t      *rapid.T
	events []dedupe.Event
	poison map[int]bool // by event number: the CRM rejects it permanently

	holder   dedupe.Token // owns the lease; empty: none
	versions map[string]string
	marks    map[dedupe.EventID]int
	counts   map[dedupe.EventID]bool // the event ended, and not as a dead letter
	pending  []pending
	crm      map[string]string
	sent     map[string]string // by field: the version of the value that the CRM holds
	owners   [3]owner
}

// A pending value was handed out, and its outcome is unknown.
type pending struct {
	field   string
	event   dedupe.EventID
	version string
	token   dedupe.Token // "-" after two tokens have handed it out
}

// An owner is the state of one process that handles a fold.
type owner struct {
	token     dedupe.Token // empty: idle
	events    []dedupe.Event
	grant     dedupe.Grant
	called    bool
	completed *dedupe.Completion // the last one that was in time
}

func modelTest(f *fixture) {
	var members atomic.Int32
	rapid.Check(f.T, func(t *rapid.T) {
		g := *f
		g.member = memberNumber(int(members.Add(1)))
		m := newModel(&g, t)
		t.Repeat(map[string]func(*rapid.T){
			"":              m.check,
			"acquire":       m.acquire,
			"acquire again": m.acquireAgain,
			"call":          m.call,
			"complete":      m.complete,
			"again":         m.completeAgain,
			"release":       m.release,
			"crash":         func(t *rapid.T) { *m.anyOwner(t) = owner{} },
			"expire":        func(*rapid.T) { m.f.expire(); m.holder = "" },
		})
		m.converge()
	})
}

func newModel(f *fixture, t *rapid.T) *model {
	m := &model{
		f: f, t: t, poison: map[int]bool{},
		versions: map[string]string{}, marks: map[dedupe.EventID]int{}, counts: map[dedupe.EventID]bool{}, crm: map[string]string{}, sent: map[string]string{},
	}
	fields := []string{"mobile", "title", "name"}
	for n := range 8 {
		e := event(n)
		id := rapid.IntRange(max(0, n-2), n).Draw(t, "id") // sometimes that of an earlier event
		e.ID = dedupe.NewEventID("topic-test", fmt.Sprint(id), 0, version(n))
		for _, field := range fields {
			if rapid.Bool().Draw(t, "states") {
				value := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "value")
				e.Fields = append(e.Fields, dedupe.Field{Name: field, Value: []byte(value)})
			}
		}
		m.poison[n] = rapid.IntRange(0, 3).Draw(t, "poison") == 0
		m.events = append(m.events, e)
	}
	return m
}

func (m *model) anyOwner(t *rapid.T) *owner { return &m.owners[rapid.IntRange(0, 2).Draw(t, "owner")] }

// check compares what is stored with the model, in one round trip.
func (m *model) check(t *rapid.T) {
	ctx, p := m.f.Context(), m.f.client.Pipeline()
	fields, lease := p.HGetAll(ctx, m.f.key("fields")), p.Get(ctx, m.f.key("lease"))
	keys := make([]string, len(m.events))
	for i, e := range m.events {
		keys[i] = m.f.mark(e)
	}
	marks := p.MGet(ctx, keys...)
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	m.same(t, "versions", maps.Equal(versionsOf(fields.Val()), m.versions))
	m.same(t, "holder", lease.Val() == string(m.holder))
	for i, e := range m.events {
		number, marked := m.marks[e.ID]
		stored, _ := marks.Val()[i].(string)
		_, order := m.f.store.EventHash(e.ID)
		entry := order + ":" // the prefix of its order value's entry
		m.same(t, "done mark", strings.Contains(stored, entry) == marked)
		m.same(t, "redrive number", !marked || strings.Contains(stored, entry+strconv.Itoa(number)+":"))
	}
}

// reused reports whether another event of the same name is done, or comes earlier in the fold.
func (m *model) reused(fold []dedupe.Event, at int) bool {
	markName := func(id dedupe.EventID) string { name, _ := m.f.store.EventHash(id); return name }
	other := func(id dedupe.EventID) bool { return id != fold[at].ID && markName(id) == markName(fold[at].ID) }
	return slices.ContainsFunc(fold[:at], func(e dedupe.Event) bool { return other(e.ID) }) ||
		slices.ContainsFunc(slices.Collect(maps.Keys(m.marks)), other)
}

func (m *model) same(t *rapid.T, what string, same bool) {
	if !same {
		t.Fatalf("%s: Redis and model differ", what)
	}
}

func (m *model) acquire(t *rapid.T) {
	o := m.anyOwner(t)
	if o.token != "" {
		t.Skip("busy")
	}
	var fold []dedupe.Event
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(m.events)-1), 1, 4, rapid.ID).Draw(t, "fold") {
		fold = append(fold, redrive(m.events[i], rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "redrive")))
	}
	token := dedupe.NewToken()
	g := m.f.ask(token, fold...)
	m.same(t, "leased by another", g.Leased == (m.holder != ""))
	if g.Leased {
		return
	}
	m.same(t, "waits for a newer value", g.Pending == m.mustWait(fold))
	if g.Pending {
		return
	}
	m.holder = token
	*o = owner{token: token, events: fold, grant: g}
	m.checkGrant(t, o)
	m.handOut(o)
}

// winners returns the indexes of the newest live events, by field.
func (m *model) winners(fold []dedupe.Event) map[string]int {
	newest := map[string]int{}
	for i, e := range fold {
		for _, field := range e.Fields {
			if old, ok := newest[field.Name]; !m.isDone(e) && (!ok || fold[old].Version <= e.Version) {
				newest[field.Name] = i
			}
		}
	}
	return newest
}

func (m *model) isDone(e dedupe.Event) bool {
	number, marked := m.marks[e.ID]
	return marked && number >= e.Redrive
}

// mustWait reports whether a value of the fold is neither superseded nor at least as new as each
// pending value of other events.
func (m *model) mustWait(fold []dedupe.Event) bool {
	for field, i := range m.winners(fold) {
		if fold[i].Version < m.versions[field] {
			continue
		}
		if slices.ContainsFunc(m.pending, func(p pending) bool {
			requested := func(e dedupe.Event) bool { return e.ID == p.event && !m.isDone(e) }
			return p.field == field && p.version > max(fold[i].Version, m.versions[field]) && !slices.ContainsFunc(fold, requested)
		}) {
			return true
		}
	}
	return false
}

// handOut records what the owner may send.
func (m *model) handOut(o *owner) {
	for _, field := range o.grant.Fields {
		if field.Decision != dedupe.Send {
			continue
		}
		winner := o.events[field.Winner]
		same := pending{field.Name, winner.ID, winner.Version, o.token}
		before := len(m.pending)
		m.pending = slices.DeleteFunc(m.pending, func(p pending) bool { return p.field == same.field && p.event == same.event })
		if len(m.pending) < before {
			same.token = "-"
		}
		m.pending = append(m.pending, same)
	}
}

// settle removes the pending values of the token: the CRM has reported their outcome.
func (m *model) settle(token dedupe.Token) {
	m.pending = slices.DeleteFunc(m.pending, func(p pending) bool { return p.token == token })
}

// checkGrant compares the grant with one computed from the model and, for digests, from the CRM.
func (m *model) checkGrant(t *rapid.T, o *owner) {
	newest := m.winners(o.events)
	for i, e := range o.events {
		m.same(t, "done", o.grant.Events[i].Done == m.isDone(e))
		m.same(t, "reused", o.grant.Events[i].Reused == m.reused(o.events, i))
	}
	m.same(t, "fields granted", len(newest) == len(o.grant.Fields))
	for _, field := range o.grant.Fields {
		m.same(t, "winner", field.Winner == newest[field.Name])
		winner := o.events[field.Winner]
		older := winner.Version < m.versions[field.Name]
		m.same(t, "superseded", older == (field.Decision == dedupe.Superseded))
		if field.Decision == dedupe.Unchanged && m.crm[field.Name] != value(winner, field.Name) {
			t.Fatalf("%s: unchanged, but the CRM holds another value", field.Name)
		}
	}
}

func (m *model) acquireAgain(t *rapid.T) {
	o := m.anyOwner(t)
	if o.token == "" || o.called || o.token != m.holder {
		t.Skip("nothing to repeat")
	}
	again := m.f.ask(o.token, o.events...)
	again.Expires = o.grant.Expires
	m.f.equal("reply to the repeated token", again, o.grant)
}

// call sends what was granted if the token still owns the lease. The CRM rejects a fold that
// contains poison. Only a fold of that single event then ends, as a dead letter.
func (m *model) call(t *rapid.T) {
	o := m.anyOwner(t)
	if o.token == "" || o.called || o.token != m.holder {
		t.Skip("nothing to call")
	}
	if !m.send(o) && len(o.events) > 1 {
		m.f.must(m.f.store.Release(m.f.Context(), m.f.member, o.token))
		m.holder = ""
		m.settle(o.token)
		*o = owner{}
	}
}

// send applies what was granted to the CRM, unless an event of it is poison.
func (m *model) send(o *owner) bool {
	o.called = true
	for _, field := range o.grant.Fields {
		if field.Decision == dedupe.Send && m.isPoison(o.events[field.Winner]) {
			return false
		}
	}
	for _, field := range o.grant.Fields {
		if field.Decision == dedupe.Send {
			winner := o.events[field.Winner]
			if winner.Version < m.sent[field.Name] {
				m.t.Fatalf("%s: the field goes back", field.Name)
			}
			m.sent[field.Name] = winner.Version
			m.crm[field.Name] = value(winner, field.Name)
		}
	}
	return true
}

func (m *model) isPoison(e dedupe.Event) bool {
	return m.poison[slices.IndexFunc(m.events, func(o dedupe.Event) bool { return o.ID == e.ID })]
}

func value(e dedupe.Event, name string) string {
	i := slices.IndexFunc(e.Fields, func(f dedupe.Field) bool { return f.Name == name })
	return string(e.Fields[i].Value)
}

func (m *model) complete(t *rapid.T) {
	o := m.anyOwner(t)
	if o.token == "" || !o.called {
		t.Skip("nothing to complete")
	}
	c := m.completion(o)
	c.Keep = rapid.Bool().Draw(t, "keep")
	late := m.f.completeLate(c)
	m.same(t, "late", late == (o.token != m.holder))
	*o = owner{}
	if !late {
		m.record(c)
		o.completed = &c
	}
}

// completion returns a completion with the outcome of each live event.
func (m *model) completion(o *owner) dedupe.Completion {
	c := dedupe.Completion{Token: o.token}
	rejected := slices.ContainsFunc(o.grant.Fields, func(f dedupe.FieldGrant) bool {
		return f.Decision == dedupe.Send && m.isPoison(o.events[f.Winner])
	})
	for i, e := range o.events {
		switch {
		case o.grant.Events[i].Done:
		case rejected:
			c.Done = append(c.Done, done(e, "dead_lettered"))
		default:
			c.Done = append(c.Done, done(e, "applied"))
		}
	}
	for _, field := range o.grant.Fields {
		if field.Decision == dedupe.Send && !rejected {
			sent := value(o.events[field.Winner], field.Name)
			c.Sent = append(c.Sent, dedupe.Field{Name: field.Name, Value: []byte(sent)})
		}
	}
	return c
}

// record applies a completion in time to the model.
func (m *model) record(c dedupe.Completion) {
	if !c.Keep {
		m.settle(c.Token)
	}
	for _, e := range c.Done {
		m.pending = slices.DeleteFunc(m.pending, func(p pending) bool { return p.event == e.ID && e.Held == nil })
		m.marks[e.ID] = max(m.marks[e.ID], e.Redrive)
		m.counts[e.ID] = m.counts[e.ID] || e.Outcome != "dead_lettered"
		for _, field := range e.Fields {
			m.versions[field] = max(m.versions[field], e.Version)
		}
	}
	if !c.Keep {
		m.holder = ""
	}
}

// completeAgain repeats a completion whose reply was lost, at any later time. Others may have
// overwritten its marks since then, so they no longer prove anything and "late" may have either
// value.
func (m *model) completeAgain(t *rapid.T) {
	o := m.anyOwner(t)
	if o.completed == nil {
		t.Skip("nothing to repeat")
	}
	late := m.f.completeLate(*o.completed)
	if late && o.completed.Token == m.holder {
		t.Fatal("late, but the token owns the lease")
	}
}

func (m *model) release(t *rapid.T) {
	o := m.anyOwner(t)
	if o.token == "" || o.called {
		t.Skip("nothing to release")
	}
	m.f.must(m.f.store.Release(m.f.Context(), m.f.member, o.token))
	if o.token == m.holder {
		m.holder = ""
	}
	m.settle(o.token)
	*o = owner{}
}

// converge delivers every event once more. Then the CRM must hold, for each field, the value of the
// newest event that states it and did not end as a dead letter. An event that the CRM would reject
// also counts if it was delivered when the CRM already had its value.
func (m *model) converge() {
	m.f.expire()
	m.holder = ""
	left := rapid.Permutation(m.events).Draw(m.t, "redelivery")
	for waiting := 0; len(left) > 0; {
		e := left[0]
		left = left[1:]
		o := &owner{token: dedupe.NewToken(), events: []dedupe.Event{e}}
		o.grant = m.f.ask(o.token, e)
		m.same(m.t, "waits for a newer value", o.grant.Pending == m.mustWait(o.events))
		if o.grant.Pending { // the newest remaining event never waits
			left = append(left, e)
			if waiting++; waiting == len(left) {
				m.t.Fatal("the remaining events wait for each other")
			}
			continue
		}
		waiting = 0
		m.holder = o.token
		m.checkGrant(m.t, o)
		m.handOut(o)
		m.send(o)
		c := m.completion(o)
		m.f.complete(c)
		m.record(c)
		m.check(m.t)
	}
	want := map[string]string{}
	for _, e := range m.events { // oldest first
		for _, field := range e.Fields {
			if m.counts[e.ID] {
				want[field.Name] = string(field.Value)
			}
		}
	}
	for name, wanted := range want {
		if m.crm[name] != wanted {
			m.t.Fatalf("%s: the CRM does not hold the value of the newest event", name)
		}
	}
}
