package dedupetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"membersync/dedupe"
)

func leaseTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"while one token owns it another has to wait":                       leaseIsOwned,
		"another member is not affected":                                    leaseIsOfOneMember,
		"it expires by itself":                                              leaseExpires,
		"acquire repeated after a lost reply returns the same and renews":   acquireRepeated,
		"acquire delayed until after its own complete takes nothing":        acquireDelayed,
		"only the owner renews":                                             renewByOwner,
		"only the owner releases":                                           releaseByOwner,
		"a stalled owner completes nothing":                                 completeLate,
		"an owner whose lease expired completes nothing even if it is free": completeAfterExpiry,
		"keep lets it expire after an unacknowledged call":                  completeKeeps,
		"complete repeated after a lost reply is not late":                  completeRepeated,
		"complete repeated while the next one owns it changes nothing":      completeRepeatedUnderAnother,
		"many workers enter one at a time and each event runs once":         leaseUnderLoad,
		"many concurrent members each get their own reply":                  concurrentMembers,
	}
}

func leaseIsOwned(f *fixture) {
	first, second := dedupe.NewToken(), dedupe.NewToken()
	g := f.acquire(first, event(1, "mobile", "a"))
	if left := time.Until(g.Expires); left <= 0 || left > f.opts.Lease {
		f.Errorf("the lease expires in %v, want at most %v", left, f.opts.Lease)
	}
	g = f.ask(second, event(1, "mobile", "a"))
	if !g.Leased || g.Wait <= 0 || g.Wait > f.opts.Lease {
		f.Errorf("Leased %v, Wait %v, want it leased for at most %v", g.Leased, g.Wait, f.opts.Lease)
	}
	f.equal("holder", f.redis.holder(), first)
	f.release(first)
	f.acquire(second)
}

func leaseIsOfOneMember(f *fixture) {
	f.acquire(dedupe.NewToken())
	f.member = memberNumber(2)
	f.acquire(dedupe.NewToken())
}

func leaseExpires(f *fixture) {
	f.store = f.newStore(func(o *dedupe.Options) { o.Lease = 30 * time.Millisecond })
	f.acquire(dedupe.NewToken())
	second := dedupe.NewToken()
	for g := f.ask(second); g.Leased; g = f.ask(second) {
		select {
		case <-f.Context().Done():
			f.Fatal("the lease never expired")
		case <-time.After(g.Wait):
		}
	}
}

func acquireRepeated(f *fixture) {
	f.apply(event(1, "title", "a", "mobile", "a"))
	events := []dedupe.Event{event(1, "title", "a", "mobile", "a"), event(2, "title", "b", "mobile", "a"), event(0, "title", "c")}
	token := dedupe.NewToken()
	first := f.acquire(token, events...)
	f.redis.expireIn("lease", 2*f.opts.Lease)
	again := f.acquire(token, events...)
	first.Expires, again.Expires = time.Time{}, time.Time{}
	f.equal("second reply", again, first)
	f.redis.wantTTL("lease", f.opts.Lease)
}

func acquireDelayed(f *fixture) {
	e := event(1, "mobile", "a")
	f.wantUsed(f.apply(e).Token, e)
	f.equal("holder", f.redis.holder(), dedupe.Token(""))
	f.equal("decisions", f.decisions(event(2, "mobile", "a")), map[string]string{"mobile": "unchanged"})
}

func renewByOwner(f *fixture) {
	first, second := dedupe.NewToken(), dedupe.NewToken()
	f.acquire(first)
	f.redis.expireIn("lease", 2*f.opts.Lease)
	renew := func(t dedupe.Token) bool {
		owned, err := f.store.Renew(f.Context(), f.member, t)
		f.must(err)
		return owned
	}
	f.equal("renewed by another", renew(second), false)
	f.equal("renewed by the owner", renew(first), true)
	f.redis.wantTTL("lease", f.opts.Lease)
	f.redis.expireLease()
	f.equal("renewed after it expired", renew(first), false)
	f.equal("holder", f.redis.holder(), dedupe.Token(""))
}

func releaseByOwner(f *fixture) {
	first, second := dedupe.NewToken(), dedupe.NewToken()
	f.acquire(first)
	f.release(second)
	f.equal("holder", f.redis.holder(), first)
	f.release(first)
	f.equal("holder", f.redis.holder(), dedupe.Token(""))
	f.release(first)
}

func completeLate(f *fixture) {
	e, stalled, next := event(1, "mobile", "a"), dedupe.NewToken(), dedupe.NewToken()
	f.acquire(stalled, e)
	f.redis.expireLease()
	f.acquire(next, e)
	f.equal("late", f.completeLate(applied(stalled, e)), true)
	f.equal("versions", f.redis.versions(), map[string]string{})
	f.equal("holder", f.redis.holder(), next)
	f.complete(applied(next, e))
	// The event is done by another token, so the late completion stays late.
	f.equal("late", f.completeLate(dedupe.Completion{Token: stalled, Done: []dedupe.DoneEvent{done(e, "applied")}}), true)
}

func completeAfterExpiry(f *fixture) {
	e, token := event(1, "mobile", "a"), dedupe.NewToken()
	f.acquire(token, e)
	f.redis.expireLease()
	f.equal("late", f.completeLate(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "applied")}}), true)
	f.equal("done", f.acquire(dedupe.NewToken(), e).Events, []dedupe.EventGrant{{}})
}

func completeKeeps(f *fixture) {
	e, token := event(1, "mobile", "a"), dedupe.NewToken()
	f.acquire(token, e)
	c := dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields, Keep: true}
	f.complete(c)
	f.equal("leased for a different update", f.ask(dedupe.NewToken(), event(2, "mobile", "b")).Leased, true)
	more := event(2, "title", "a")
	c.Done = append(c.Done, done(more, "unchanged"))
	f.complete(c)
	f.equal("holder", f.redis.holder(), token)
	f.redis.expireLease()
	want := []dedupe.EventGrant{{Done: true, Outcome: "applied"}, {Done: true, Outcome: "unchanged"}}
	f.equal("events", f.acquire(dedupe.NewToken(), e, more).Events, want)
}

func completeRepeated(f *fixture) {
	c := f.apply(event(1, "mobile", "a"))
	f.complete(c)
	f.equal("holder", f.redis.holder(), dedupe.Token(""))
}

func completeRepeatedUnderAnother(f *fixture) {
	c, next := f.apply(event(1, "mobile", "a")), dedupe.NewToken()
	f.acquire(next, event(2, "mobile", "b"))
	f.complete(c)
	f.equal("holder", f.redis.holder(), next)
	// The repeated completion did not restore the digest that the next acquire deleted.
	f.release(next)
	f.equal("decisions", f.decisions(event(3, "mobile", "a")), map[string]string{"mobile": "send"})
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
					f.Error("two workers inside at once")
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

// concurrentMembers tests requests that share a pipeline, also across the nodes of a cluster, while
// the scripts are flushed.
func concurrentMembers(f *fixture) {
	const members, rounds = 40, 4
	var wg sync.WaitGroup
	for n := range members {
		wg.Go(func() {
			g := f.ofMember(n)
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
					g.redis.flushScripts()
				}
			}
		})
	}
	wg.Wait()
}
