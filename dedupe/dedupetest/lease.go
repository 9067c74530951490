package dedupetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"membersync/dedupe"
)

func leaseTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"while one token holds it another is told to wait":                  leaseIsHeld,
		"another member goes on":                                            leaseIsOfOneMember,
		"it runs out by itself":                                             leaseRunsOut,
		"acquire repeated after a lost reply answers the same and renews":   acquireRepeated,
		"acquire delayed until after its own complete takes nothing":        acquireDelayed,
		"only the holder renews":                                            renewByHolder,
		"only the holder gives back":                                        releaseByHolder,
		"a holder that stalled completes nothing":                           completeLate,
		"a holder whose lease ran out completes nothing even if it is free": completeAfterExpiry,
		"keep leaves it to run out after an unanswered call":                completeKeeps,
		"complete repeated after a lost reply is not late":                  completeRepeated,
		"complete repeated while the next one holds it changes nothing":     completeRepeatedUnderAnother,
		"many at once enter one at a time and each event runs once":         leaseUnderLoad,
		"many members at once each get their own answer":                    membersAtOnce,
	}
}

func leaseIsHeld(f *fixture) {
	first, second := dedupe.NewToken(), dedupe.NewToken()
	g := f.acquire(first, event(1, "mobile", "a"))
	if left := time.Until(g.Expires); left <= 0 || left > f.opts.Lease {
		f.Errorf("the lease expires in %v, want at most %v", left, f.opts.Lease)
	}
	g = f.ask(second, event(1, "mobile", "a"))
	if !g.Leased || g.Wait <= 0 || g.Wait > f.opts.Lease {
		f.Errorf("Held %v, Wait %v, want held for at most %v", g.Leased, g.Wait, f.opts.Lease)
	}
	f.equal("holder", f.holder(), first)
	f.must(f.store.Release(f.Context(), f.member, first))
	f.acquire(second)
}

func leaseIsOfOneMember(f *fixture) {
	f.acquire(dedupe.NewToken())
	f.member = memberNumber(2)
	f.acquire(dedupe.NewToken())
}

func leaseRunsOut(f *fixture) {
	f.store = f.newStore(func(o *dedupe.Options) { o.Lease = 30 * time.Millisecond })
	f.acquire(dedupe.NewToken())
	second := dedupe.NewToken()
	for g := f.ask(second); g.Leased; g = f.ask(second) {
		select {
		case <-f.Context().Done():
			f.Fatal("the lease never ran out")
		case <-time.After(g.Wait):
		}
	}
}

func acquireRepeated(f *fixture) {
	f.apply(event(1, "title", "a", "mobile", "a"))
	events := []dedupe.Event{event(1, "title", "a", "mobile", "a"), event(2, "title", "b", "mobile", "a"), event(0, "title", "c")}
	token := dedupe.NewToken()
	first := f.acquire(token, events...)
	f.must(f.client.PExpire(f.Context(), f.key("lease"), 2*f.opts.Lease).Err())
	again := f.acquire(token, events...)
	first.Expires, again.Expires = time.Time{}, time.Time{}
	f.equal("second answer", again, first)
	f.begunAnew()
}

func acquireDelayed(f *fixture) {
	e, token := event(1, "mobile", "a"), dedupe.NewToken()
	f.acquire(token, e)
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields})
	_, err := f.store.Acquire(f.Context(), dedupe.AcquireRequest{Member: f.member, Token: token, Events: []dedupe.Event{e}})
	if !errors.Is(err, dedupe.ErrTokenUsed) {
		f.Errorf("error %v, want ErrTokenUsed", err)
	}
	f.equal("holder", f.holder(), dedupe.Token(""))
	f.equal("verdicts", f.verdicts(event(2, "mobile", "a")), map[string]string{"mobile": "unchanged"})
}

func renewByHolder(f *fixture) {
	first, second := dedupe.NewToken(), dedupe.NewToken()
	f.acquire(first)
	f.must(f.client.PExpire(f.Context(), f.key("lease"), 2*f.opts.Lease).Err())
	f.equal("renewed by another", f.renew(second), false)
	f.equal("renewed by the holder", f.renew(first), true)
	f.begunAnew()
	f.expire()
	f.equal("renewed once it ran out", f.renew(first), false)
	f.equal("holder", f.holder(), dedupe.Token(""))
}

// begunAnew wants the lease, of which there was more left than it lives, to have begun anew.
func (f *fixture) begunAnew() {
	f.Helper()
	ttl, err := f.client.PTTL(f.Context(), f.key("lease")).Result()
	f.must(err)
	if ttl <= 0 || ttl > f.opts.Lease {
		f.Errorf("the lease has %v left, want %v", ttl, f.opts.Lease)
	}
}

func (f *fixture) renew(t dedupe.Token) bool {
	f.Helper()
	held, err := f.store.Renew(f.Context(), f.member, t)
	f.must(err)
	return held
}

func releaseByHolder(f *fixture) {
	first, second := dedupe.NewToken(), dedupe.NewToken()
	f.acquire(first)
	f.must(f.store.Release(f.Context(), f.member, second))
	f.equal("holder", f.holder(), first)
	f.must(f.store.Release(f.Context(), f.member, first))
	f.equal("holder", f.holder(), dedupe.Token(""))
	f.must(f.store.Release(f.Context(), f.member, first))
}

func completeLate(f *fixture) {
	e, stalled, next := event(1, "mobile", "a"), dedupe.NewToken(), dedupe.NewToken()
	f.acquire(stalled, e)
	f.expire()
	f.acquire(next, e)
	f.equal("late", f.completeLate(dedupe.Completion{Token: stalled, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields}), true)
	f.equal("versions", f.versions(), map[string]string{})
	f.equal("holder", f.holder(), next)
	f.complete(dedupe.Completion{Token: next, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields})
	// Done by another is not done by us: the late one stays late.
	f.equal("late", f.completeLate(dedupe.Completion{Token: stalled, Done: []dedupe.DoneEvent{done(e, "applied")}}), true)
}

func completeAfterExpiry(f *fixture) {
	e, token := event(1, "mobile", "a"), dedupe.NewToken()
	f.acquire(token, e)
	f.expire()
	f.equal("late", f.completeLate(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "applied")}}), true)
	f.equal("done", f.acquire(dedupe.NewToken(), e).Events, []dedupe.EventGrant{{}})
}

func completeKeeps(f *fixture) {
	e, token := event(1, "mobile", "a"), dedupe.NewToken()
	f.acquire(token, e)
	c := dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields, Keep: true}
	f.complete(c)
	f.equal("held for a different update", f.ask(dedupe.NewToken(), event(2, "mobile", "b")).Leased, true)
	more := event(2, "title", "a")
	c.Done = append(c.Done, done(more, "unchanged"))
	f.complete(c)
	f.equal("holder", f.holder(), token)
	f.expire()
	want := []dedupe.EventGrant{{Done: true, Outcome: "applied"}, {Done: true, Outcome: "unchanged"}}
	f.equal("verdicts", f.acquire(dedupe.NewToken(), e, more).Events, want)
}

func completeRepeated(f *fixture) {
	e, token := event(1, "mobile", "a"), dedupe.NewToken()
	f.acquire(token, e)
	c := dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields}
	f.complete(c)
	f.complete(c)
	f.equal("holder", f.holder(), dedupe.Token(""))
}

func completeRepeatedUnderAnother(f *fixture) {
	e, token, next := event(1, "mobile", "a"), dedupe.NewToken(), dedupe.NewToken()
	f.acquire(token, e)
	c := dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields}
	f.complete(c)
	f.acquire(next, event(2, "mobile", "b"))
	f.complete(c)
	f.equal("holder", f.holder(), next)
	// The digest that the next one took away has not come back.
	f.must(f.store.Release(f.Context(), f.member, next))
	f.equal("verdicts", f.verdicts(event(3, "mobile", "a")), map[string]string{"mobile": "send"})
}

func leaseUnderLoad(f *fixture) {
	const workers, events = 8, 5
	var inside, calls atomic.Int32
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for n := range events {
				e := event(n+1, "mobile", "a")
				token := dedupe.NewToken()
				g := f.ask(token, e)
				for ; g.Leased; g = f.ask(token, e) {
					if f.Context().Err() != nil {
						return
					}
				}
				if inside.Add(1) != 1 {
					f.Error("two inside at once")
				}
				if !g.Events[0].Done {
					calls.Add(1)
				}
				inside.Add(-1)
				f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "applied")}})
			}
		})
	}
	wg.Wait()
	f.equal("calls", calls.Load(), int32(events))
}

// membersAtOnce is for requests that share a pipeline, across the nodes of a cluster too, and lose the scripts meanwhile.
func membersAtOnce(f *fixture) {
	const members, rounds = 40, 4
	var wg sync.WaitGroup
	for n := range members {
		wg.Go(func() {
			g := *f
			g.member = memberNumber(n)
			field, other := fmt.Sprint("field", n), fmt.Sprint("other", n)
			for round := range rounds {
				e := event(n*rounds+round, field, "a", other, fmt.Sprint(round))
				token := dedupe.NewToken()
				want := []dedupe.FieldGrant{{Name: field, Decision: dedupe.Unchanged}, {Name: other}}
				if round == 0 {
					want[0].Decision = dedupe.Send
				}
				g.equal("fields", g.ask(token, e).Fields, want)
				g.equal("late", g.completeLate(dedupe.Completion{
					Token: token, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields,
				}), false)
				if n == 0 {
					g.flushScripts()
				}
			}
		})
	}
	wg.Wait()
}
