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

// permit asks with a window so long that no permit becomes free by itself.
func (f *fixture) permit(id string, rank, limit int) (ok bool, wait time.Duration, used int) {
	f.Helper()
	ok, wait, used, err := f.store.Permit(f.Context(), dedupe.PermitRequest{
		Limit: limit, Window: time.Hour, Rank: rank, ID: id, Hold: time.Minute,
	})
	f.must(err)
	return ok, wait, used
}

// fill takes n permits and returns their ids.
func (f *fixture) fill(n, rank, limit int) []string {
	f.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = string(dedupe.NewToken())
		if ok, wait, used := f.permit(ids[i], rank, limit); !ok {
			f.Fatalf("permit %d: wait %v, used %d, want it granted", i, wait, used)
		}
	}
	return ids
}

func (f *fixture) denied(what string, rank, limit int) {
	f.Helper()
	ok, wait, _ := f.permit(string(dedupe.NewToken()), rank, limit)
	if ok || wait <= 0 || wait > time.Hour {
		f.Errorf("%s: granted %v, wait %v, want it denied for at most the window", what, ok, wait)
	}
}

func (f *fixture) permitDone(id string, sent bool) {
	f.Helper()
	f.must(f.store.PermitDone(f.Context(), id, sent))
}

func limitIsEnforced(f *fixture) {
	f.fill(3, dedupe.RankLive, 3)
	f.denied("the fourth", dedupe.RankLive, 3)
}

func permitReturned(f *fixture) {
	ids := f.fill(3, dedupe.RankReplay, 3)
	f.permitDone(ids[1], false)
	f.permitDone(ids[1], false)
	f.fill(1, dedupe.RankLive, 3)
	f.denied("the fourth", dedupe.RankLive, 3)
}

func permitRepeated(f *fixture) {
	for range 3 {
		ok, _, used := f.permit("same", dedupe.RankRedrive, 2)
		f.equal("granted", ok, true)
		f.equal("used", used, 1)
	}
	f.fill(1, dedupe.RankLive, 2)
	ok, _, used := f.permit("same", dedupe.RankRedrive, 2) // the limit is reached, but this id has its permit
	f.equal("granted", ok, true)
	f.equal("used", used, 2)
}

func permitAnswered(f *fixture) {
	f.permitDone(f.fill(1, dedupe.RankLive, 1)[0], true)
	f.denied("the second", dedupe.RankLive, 1)
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
	f.permitDone("an id that the log dropped", true)
	f.denied("the next", dedupe.RankLive, 1)
}

func lowerRanksUseAll(f *fixture) {
	f.fill(20, dedupe.RankReplay, 40)
	f.fill(20, dedupe.RankRedrive, 40)
	f.denied("one more", dedupe.RankLive, 40)
}

func lowerRanksYield(f *fixture) {
	const limit = 40 // 5 % are two calls
	ids := f.fill(limit, dedupe.RankLive, limit)
	f.denied("live", dedupe.RankLive, limit)
	for _, id := range ids[:6] {
		f.permitDone(id, false)
	}
	f.permitDone(ids[6], true) // still counts for its own rank, and for no other
	f.permitDone(ids[7], true)
	f.fill(2, dedupe.RankRedrive, limit)
	f.denied("a third redrive", dedupe.RankRedrive, limit)
	f.fill(2, dedupe.RankReplay, limit)
	f.denied("a third replay", dedupe.RankReplay, limit)
	f.fill(2, dedupe.RankLive, limit)
}

func liveLeavesShare(f *fixture) {
	const limit = 40
	ids := f.fill(limit, dedupe.RankLive, limit)
	f.denied("a replay", dedupe.RankReplay, limit)
	for _, id := range ids[:3] {
		f.permitDone(id, false)
	}
	f.fill(1, dedupe.RankLive, limit)
	f.denied("live", dedupe.RankLive, limit)
	f.fill(2, dedupe.RankReplay, limit)
}

func smallLimit(f *fixture) {
	ids := f.fill(2, dedupe.RankLive, 2)
	f.denied("a replay", dedupe.RankReplay, 2)
	f.denied("live", dedupe.RankLive, 2)
	f.permitDone(ids[0], false)
	f.denied("a replay", dedupe.RankReplay, 2)
	f.fill(1, dedupe.RankLive, 2)
}

func throttleStopsAll(f *fixture) {
	f.fill(1, dedupe.RankLive, 10)
	f.must(f.store.Throttle(f.Context(), 2*time.Hour))
	f.must(f.store.Throttle(f.Context(), time.Minute))
	f.must(f.store.Throttle(f.Context(), 0))
	f.store = f.newStore(func(*dedupe.Options) {})
	for _, limit := range []int{10, 1, 0} { // not reached, reached, no limit
		ok, wait, used := f.permit("next", dedupe.RankLive, limit)
		if ok || wait <= time.Hour || wait > 2*time.Hour || used != 1 {
			f.Errorf("limit %d: granted %v, wait %v, used %d, want it denied for two hours with 1 used", limit, ok, wait, used)
		}
	}
}

func limitOfAnotherScope(f *fixture) {
	f.fill(1, dedupe.RankLive, 1)
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "another" })
	f.fill(1, dedupe.RankLive, 1)
}

func noLimit(f *fixture) { f.fill(50, dedupe.RankReplay, 0) }

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
