package dedupetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"membersync/dedupe"
)

// A model is the expected state in Redis, written in plain Go, together with owners that acquire,
// call, complete, repeat requests, release, crash and stall in any order, and a CRM that they call.
// Leases expire at any moment. Owners never call after their lease has expired: no state in Redis
// can prevent that.
type model struct {
	f      *fixture
	t      *rapid.T
	events []dedupe.Event
	owners [3]owner
	crm    modelCRM
	want   expected
}

// expected is the state that Redis must have.
type expected struct {
	holder   dedupe.Token // owns the lease; empty: none
	versions map[string]string
	marks    map[dedupe.EventID]int
	counts   map[dedupe.EventID]bool // the event ended, and not as a dead letter
	pending  []pending
	redriven map[dedupe.EventID]bool // the event was handed out as a redrive
}

// A modelCRM is a CRM that rejects some events permanently.
type modelCRM struct {
	t      *rapid.T
	poison map[dedupe.EventID]bool
	fields map[string]string
	sent   map[string]string // by field: the version of the value that the CRM holds
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
		m := newModel(f.ofMember(int(members.Add(1))), t)
		t.Repeat(map[string]func(*rapid.T){
			"":              m.check,
			"acquire":       m.acquire,
			"acquire again": m.acquireAgain,
			"call":          m.call,
			"complete":      m.complete,
			"again":         m.completeAgain,
			"release":       m.release,
			"crash":         func(t *rapid.T) { *m.anyOwner(t) = owner{} },
			"expire":        func(*rapid.T) { m.f.redis.expireLease(); m.want.holder = "" },
		})
		m.converge()
	})
}

func newModel(f *fixture, t *rapid.T) *model {
	m := &model{
		f: f, t: t, crm: modelCRM{t: t, poison: map[dedupe.EventID]bool{}, fields: map[string]string{}, sent: map[string]string{}},
		want: expected{
			versions: map[string]string{}, marks: map[dedupe.EventID]int{}, counts: map[dedupe.EventID]bool{},
			redriven: map[dedupe.EventID]bool{},
		},
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
		m.crm.poison[e.ID] = rapid.IntRange(0, 3).Draw(t, "poison") == 0
		m.events = append(m.events, e)
	}
	return m
}

func (m *model) anyOwner(t *rapid.T) *owner { return &m.owners[rapid.IntRange(0, 2).Draw(t, "owner")] }

// check compares what is stored with the model, in one round trip.
func (m *model) check(t *rapid.T) {
	ctx, p := m.f.Context(), m.f.redis.client.Pipeline()
	fields, lease := p.HGetAll(ctx, m.f.redis.key("f")), p.Get(ctx, m.f.redis.key("lease"))
	marks := p.HGetAll(ctx, m.f.redis.key("d"))
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	m.same(t, "versions", maps.Equal(versionsOf(fields.Val()), m.want.versions))
	m.same(t, "holder", lease.Val() == string(m.want.holder))
	for _, e := range m.events {
		number, marked := m.want.marks[e.ID]
		name, _ := m.f.store.EventHash(e.ID)
		stored, ok := m.f.redis.markIn(marks.Val()[name], e)
		m.same(t, "done mark", ok == marked)
		m.same(t, "redrive number", !marked || stored.redrive == number)
	}
}

// reused reports whether another event of the same name is done, or comes earlier in the fold.
func (m *model) reused(fold []dedupe.Event, at int) bool {
	markName := func(id dedupe.EventID) string { name, _ := m.f.store.EventHash(id); return name }
	other := func(id dedupe.EventID) bool { return id != fold[at].ID && markName(id) == markName(fold[at].ID) }
	return slices.ContainsFunc(fold[:at], func(e dedupe.Event) bool { return other(e.ID) }) ||
		slices.ContainsFunc(slices.Collect(maps.Keys(m.want.marks)), other)
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
	m.same(t, "leased by another", g.Leased == (m.want.holder != ""))
	if g.Leased {
		return
	}
	m.same(t, "waits for a newer value", g.Pending == m.want.mustWait(fold))
	if g.Pending {
		return
	}
	m.want.holder = token
	*o = owner{token: token, events: fold, grant: g}
	m.checkGrant(t, o)
	m.want.handOut(o)
}

// checkGrant compares the grant with one computed from the model and, for digests, from the CRM.
func (m *model) checkGrant(t *rapid.T, o *owner) {
	newest := m.want.winners(o.events)
	for i, e := range o.events {
		m.same(t, "done", o.grant.Events[i].Done == m.want.isDone(e))
		m.same(t, "reused", o.grant.Events[i].Reused == m.reused(o.events, i))
	}
	m.same(t, "fields granted", len(newest) == len(o.grant.Fields))
	for _, field := range o.grant.Fields {
		m.same(t, "winner", field.Winner == newest[field.Name])
		winner := o.events[field.Winner]
		older := winner.Version < m.want.versions[field.Name]
		m.same(t, "superseded", older == (field.Decision == dedupe.Superseded))
		if field.Decision == dedupe.Unchanged && m.crm.fields[field.Name] != value(winner, field.Name) {
			t.Fatalf("%s: unchanged, but the CRM holds another value", field.Name)
		}
	}
}

func (m *model) acquireAgain(t *rapid.T) {
	o := m.anyOwner(t)
	if o.token == "" || o.called || o.token != m.want.holder {
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
	if o.token == "" || o.called || o.token != m.want.holder {
		t.Skip("nothing to call")
	}
	if !m.crm.send(o) && len(o.events) > 1 {
		m.f.release(o.token)
		m.want.holder = ""
		m.want.settle(o.token)
		*o = owner{}
	}
}

func (m *model) complete(t *rapid.T) {
	o := m.anyOwner(t)
	if o.token == "" || !o.called {
		t.Skip("nothing to complete")
	}
	c := m.completion(o)
	c.Keep = rapid.Bool().Draw(t, "keep")
	late := m.f.completeLate(c)
	m.same(t, "late", late == (o.token != m.want.holder))
	*o = owner{}
	if !late {
		m.want.record(c)
		o.completed = &c
	}
}

// completion returns a completion with the outcome of each live event.
func (m *model) completion(o *owner) dedupe.Completion {
	c := dedupe.Completion{Token: o.token}
	rejected := m.crm.rejects(o)
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

// completeAgain repeats a completion whose reply was lost, at any later time. Others may have
// overwritten its marks since then, so they no longer prove anything and "late" may have either
// value.
func (m *model) completeAgain(t *rapid.T) {
	o := m.anyOwner(t)
	if o.completed == nil {
		t.Skip("nothing to repeat")
	}
	late := m.f.completeLate(*o.completed)
	if late && o.completed.Token == m.want.holder {
		t.Fatal("late, but the token owns the lease")
	}
}

func (m *model) release(t *rapid.T) {
	o := m.anyOwner(t)
	if o.token == "" || o.called {
		t.Skip("nothing to release")
	}
	m.f.release(o.token)
	if o.token == m.want.holder {
		m.want.holder = ""
	}
	m.want.settle(o.token)
	*o = owner{}
}

// converge delivers every event once more, and every redrive that was handed out and has not ended:
// its record is not committed. Older values wait for those. Then the CRM must hold, for each field,
// the value of the newest event that states it and did not end as a dead letter. An event that the
// CRM would reject also counts if it was delivered when the CRM already had its value.
func (m *model) converge() {
	m.f.redis.expireLease()
	m.want.holder = ""
	all := slices.Clone(m.events)
	for _, e := range m.events {
		if m.want.redriven[e.ID] && !m.want.isDone(redrive(e, 1)) {
			all = append(all, redrive(e, 1))
		}
	}
	left := rapid.Permutation(all).Draw(m.t, "redelivery")
	for waiting := 0; len(left) > 0; {
		e := left[0]
		left = left[1:]
		o := &owner{token: dedupe.NewToken(), events: []dedupe.Event{e}}
		o.grant = m.f.ask(o.token, e)
		m.same(m.t, "waits for a newer value", o.grant.Pending == m.want.mustWait(o.events))
		if o.grant.Pending { // the newest remaining event never waits
			left = append(left, e)
			if waiting++; waiting == len(left) {
				m.t.Fatal("the remaining events wait for each other")
			}
			continue
		}
		waiting = 0
		m.want.holder = o.token
		m.checkGrant(m.t, o)
		m.want.handOut(o)
		m.crm.send(o)
		c := m.completion(o)
		m.f.complete(c)
		m.want.record(c)
		m.check(m.t)
	}
	want := map[string]string{}
	for _, e := range m.events { // oldest first
		for _, field := range e.Fields {
			if m.want.counts[e.ID] {
				want[field.Name] = string(field.Value)
			}
		}
	}
	for name, wanted := range want {
		if m.crm.fields[name] != wanted {
			m.t.Fatalf("%s: the CRM does not hold the value of the newest event", name)
		}
	}
}

// winners returns the indexes of the newest live events, by field.
func (x *expected) winners(fold []dedupe.Event) map[string]int {
	newest := map[string]int{}
	for i, e := range fold {
		for _, field := range e.Fields {
			if old, ok := newest[field.Name]; !x.isDone(e) && (!ok || fold[old].Version <= e.Version) {
				newest[field.Name] = i
			}
		}
	}
	return newest
}

func (x *expected) isDone(e dedupe.Event) bool {
	number, marked := x.marks[e.ID]
	return marked && number >= e.Redrive
}

// mustWait reports whether a value of the fold is neither superseded nor at least as new as each
// pending value of other events.
func (x *expected) mustWait(fold []dedupe.Event) bool {
	for field, i := range x.winners(fold) {
		if fold[i].Version < x.versions[field] {
			continue
		}
		if slices.ContainsFunc(x.pending, func(p pending) bool {
			requested := func(e dedupe.Event) bool { return e.ID == p.event && !x.isDone(e) }
			return p.field == field && p.version > max(fold[i].Version, x.versions[field]) && !slices.ContainsFunc(fold, requested)
		}) {
			return true
		}
	}
	return false
}

// handOut records what the owner may send.
func (x *expected) handOut(o *owner) {
	for _, field := range o.grant.Fields {
		if field.Decision != dedupe.Send {
			continue
		}
		winner := o.events[field.Winner]
		x.redriven[winner.ID] = x.redriven[winner.ID] || winner.Redrive > 0
		same := pending{field.Name, winner.ID, winner.Version, o.token}
		before := len(x.pending)
		x.pending = slices.DeleteFunc(x.pending, func(p pending) bool { return p.field == same.field && p.event == same.event })
		if len(x.pending) < before {
			same.token = "-"
		}
		x.pending = append(x.pending, same)
	}
}

// settle removes the pending values of the token: the CRM has reported their outcome.
func (x *expected) settle(token dedupe.Token) {
	x.pending = slices.DeleteFunc(x.pending, func(p pending) bool { return p.token == token })
}

// record applies a completion in time to the model.
func (x *expected) record(c dedupe.Completion) {
	if !c.Keep {
		x.settle(c.Token)
	}
	for _, e := range c.Done {
		x.pending = slices.DeleteFunc(x.pending, func(p pending) bool { return p.event == e.ID && e.Held == nil })
		x.marks[e.ID] = max(x.marks[e.ID], e.Redrive)
		x.counts[e.ID] = x.counts[e.ID] || e.Outcome != "dead_lettered"
		for _, field := range e.Fields {
			x.versions[field] = max(x.versions[field], e.Version)
		}
	}
	if !c.Keep {
		x.holder = ""
	}
}

// send applies what was granted to the CRM, unless it rejects the fold.
func (c modelCRM) send(o *owner) bool {
	o.called = true
	if c.rejects(o) {
		return false
	}
	for _, field := range o.grant.Fields {
		if field.Decision == dedupe.Send {
			winner := o.events[field.Winner]
			if winner.Version < c.sent[field.Name] {
				c.t.Fatalf("%s: the field goes back", field.Name)
			}
			c.sent[field.Name] = winner.Version
			c.fields[field.Name] = value(winner, field.Name)
		}
	}
	return true
}

// rejects reports whether a value that the owner may send is poison.
func (c modelCRM) rejects(o *owner) bool {
	return slices.ContainsFunc(o.grant.Fields, func(f dedupe.FieldGrant) bool {
		return f.Decision == dedupe.Send && c.poison[o.events[f.Winner].ID]
	})
}

func value(e dedupe.Event, name string) string {
	i := slices.IndexFunc(e.Fields, func(f dedupe.Field) bool { return f.Name == name })
	return string(e.Fields[i].Value)
}
