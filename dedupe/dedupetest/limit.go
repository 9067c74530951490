package dedupetest

import (
	"time"

	"membersync/dedupe"
)

func limitTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"no more calls than the limit":                               limitIsEnforced,
		"an unused permit is returned":                               permitReturned,
		"a permit requested again after a lost reply counts once":    permitRepeated,
		"an answered call keeps its permit for the window":           permitAnswered,
		"a permit becomes free when the window has passed":           permitExpires,
		"a call answered after its deadline is put back":             permitPutBack,
		"lower ranks use what no other rank needs":                   lowerRanksUseAll,
		"lower ranks yield to live traffic except for 5 %":           lowerRanksYield,
		"live traffic leaves a waiting lower rank its 5 %":           liveLeavesShare,
		"live traffic goes first if the limit is too small to share": smallLimit,
		"throttling stops every instance and the longest counts":     throttleStopsAll,
		"another scope has its own limit":                            limitOfAnotherScope,
		"no limit":                                                   noLimit,
		"invalid requests are rejected":                              invalidPermits,
	}
}

// permits are those of a limit.
type permits struct {
	f     *fixture
	limit int
}

// ask asks with a window so long that no permit becomes free by itself.
func (p permits) ask(id string, rank int) (ok bool, wait time.Duration, used int) {
	p.f.Helper()
	ok, wait, used, err := p.f.store.Permit(p.f.Context(), dedupe.PermitRequest{
		Limit: p.limit, Window: time.Hour, Rank: rank, ID: id, Hold: time.Minute,
	})
	p.f.must(err)
	return ok, wait, used
}

// fill takes n permits and returns their ids.
func (p permits) fill(n, rank int) []string {
	p.f.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = string(dedupe.NewToken())
		if ok, wait, used := p.ask(ids[i], rank); !ok {
			p.f.Fatalf("permit %d: wait %v, used %d, want it granted", i, wait, used)
		}
	}
	return ids
}

func (p permits) denied(what string, rank int) {
	p.f.Helper()
	ok, wait, _ := p.ask(string(dedupe.NewToken()), rank)
	if ok || wait <= 0 || wait > time.Hour {
		p.f.Errorf("%s: granted %v, wait %v, want it denied for at most the window", what, ok, wait)
	}
}

func (p permits) done(id string, sent bool) {
	p.f.Helper()
	p.f.must(p.f.store.PermitDone(p.f.Context(), id, sent))
}

func limitIsEnforced(f *fixture) {
	p := permits{f, 3}
	p.fill(3, dedupe.RankLive)
	p.denied("the fourth", dedupe.RankLive)
}

func permitReturned(f *fixture) {
	p := permits{f, 3}
	ids := p.fill(3, dedupe.RankReplay)
	p.done(ids[1], false)
	p.done(ids[1], false)
	p.fill(1, dedupe.RankLive)
	p.denied("the fourth", dedupe.RankLive)
}

func permitRepeated(f *fixture) {
	p := permits{f, 2}
	for range 3 {
		ok, _, used := p.ask("same", dedupe.RankRedrive)
		f.equal("granted", ok, true)
		f.equal("used", used, 1)
	}
	p.fill(1, dedupe.RankLive)
	ok, _, used := p.ask("same", dedupe.RankRedrive) // the limit is reached, but this id has its permit
	f.equal("granted", ok, true)
	f.equal("used", used, 2)
}

func permitAnswered(f *fixture) {
	p := permits{f, 1}
	p.done(p.fill(1, dedupe.RankLive)[0], true)
	p.denied("the second", dedupe.RankLive)
}

func permitExpires(f *fixture) {
	const window = 20 * time.Millisecond
	ask := func(id string) (bool, time.Duration) {
		ok, wait, _, err := f.store.Permit(f.Context(), dedupe.PermitRequest{Limit: 1, Window: window, ID: id})
		f.must(err)
		return ok, wait
	}
	ask("first")
	for ok, wait := ask("second"); !ok; ok, wait = ask("second") {
		select {
		case <-f.Context().Done():
			f.Fatal("the permit never became free")
		case <-time.After(wait):
		}
	}
}

func permitPutBack(f *fixture) {
	p := permits{f, 1}
	p.done("an id that the log dropped", true)
	p.denied("the next", dedupe.RankLive)
}

func lowerRanksUseAll(f *fixture) {
	p := permits{f, 40}
	p.fill(20, dedupe.RankReplay)
	p.fill(20, dedupe.RankRedrive)
	p.denied("one more", dedupe.RankLive)
}

func lowerRanksYield(f *fixture) {
	p := permits{f, 40} // 5 % are two calls
	ids := p.fill(p.limit, dedupe.RankLive)
	p.denied("live", dedupe.RankLive)
	for _, id := range ids[:6] {
		p.done(id, false)
	}
	p.done(ids[6], true) // still counts for its own rank, and for no other
	p.done(ids[7], true)
	p.fill(2, dedupe.RankRedrive)
	p.denied("a third redrive", dedupe.RankRedrive)
	p.fill(2, dedupe.RankReplay)
	p.denied("a third replay", dedupe.RankReplay)
	p.fill(2, dedupe.RankLive)
}

func liveLeavesShare(f *fixture) {
	p := permits{f, 40}
	ids := p.fill(p.limit, dedupe.RankLive)
	p.denied("a replay", dedupe.RankReplay)
	for _, id := range ids[:3] {
		p.done(id, false)
	}
	p.fill(1, dedupe.RankLive)
	p.denied("live", dedupe.RankLive)
	p.fill(2, dedupe.RankReplay)
}

func smallLimit(f *fixture) {
	p := permits{f, 2}
	ids := p.fill(2, dedupe.RankLive)
	p.denied("a replay", dedupe.RankReplay)
	p.denied("live", dedupe.RankLive)
	p.done(ids[0], false)
	p.denied("a replay", dedupe.RankReplay)
	p.fill(1, dedupe.RankLive)
}

func throttleStopsAll(f *fixture) {
	permits{f, 10}.fill(1, dedupe.RankLive)
	f.must(f.store.Throttle(f.Context(), 2*time.Hour))
	f.must(f.store.Throttle(f.Context(), time.Minute))
	f.must(f.store.Throttle(f.Context(), 0))
	f.store = f.newStore(func(*dedupe.Options) {})
	for _, limit := range []int{10, 1, 0} { // not reached, reached, no limit
		ok, wait, used := permits{f, limit}.ask("next", dedupe.RankLive)
		if ok || wait <= time.Hour || wait > 2*time.Hour || used != 1 {
			f.Errorf("limit %d: granted %v, wait %v, used %d, want it denied for two hours with 1 used", limit, ok, wait, used)
		}
	}
}

func limitOfAnotherScope(f *fixture) {
	p := permits{f, 1}
	p.fill(1, dedupe.RankLive)
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "another" })
	p.fill(1, dedupe.RankLive)
}

func noLimit(f *fixture) { permits{f, 0}.fill(50, dedupe.RankReplay) }

func invalidPermits(f *fixture) {
	good := dedupe.PermitRequest{Limit: 1, Window: time.Second, ID: "x", Hold: time.Second}
	for what, change := range map[string]func(*dedupe.PermitRequest){
		"no id":         func(r *dedupe.PermitRequest) { r.ID = "" },
		"limit below 0": func(r *dedupe.PermitRequest) { r.Limit = -1 },
		"no window":     func(r *dedupe.PermitRequest) { r.Window = 0 },
		"unknown rank":  func(r *dedupe.PermitRequest) { r.Rank = 3 },
		"hold below 0":  func(r *dedupe.PermitRequest) { r.Hold = -1 },
	} {
		r := good
		change(&r)
		_, _, _, err := f.store.Permit(f.Context(), r)
		f.isFault(what, err)
	}
}
