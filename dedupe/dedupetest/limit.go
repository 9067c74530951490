package dedupetest

import (
	"time"

	"membersync/dedupe"
)

func limitTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"no more calls than the limit":                                limitIsKept,
		"a place not used is given back":                              permitGivenBack,
		"a place asked for again after a lost reply counts once":      permitRepeated,
		"an answered call keeps its place for the window":             permitAnswered,
		"a place becomes free once the window has passed":             permitRunsOut,
		"a call answered after its deadline is put back":              permitPutBack,
		"lower ranks use what nobody else wants":                      lowerRanksUseAll,
		"lower ranks stand back behind live traffic but for 5 %":      lowerRanksStandBack,
		"live traffic leaves a waiting lower rank its 5 %":            liveLeavesShare,
		"a limit too small to be shared is live traffic's first":      smallLimit,
		"a throttled API stops every instance and the longest counts": throttleStopsAll,
		"another scope has a limit of its own":                        limitOfAnotherScope,
		"no limit":                                                    noLimit,
		"what cannot be meant is refused":                             permitRefused,
	}
}

// permit asks with a window so long that no place becomes free by itself.
func (f *fixture) permit(id string, rank, limit int) (ok bool, wait time.Duration, used int) {
	f.Helper()
	ok, wait, used, err := f.store.Permit(f.Context(), dedupe.PermitRequest{
		Limit: limit, Window: time.Hour, Rank: rank, ID: id, Hold: time.Minute,
	})
	f.must(err)
	return ok, wait, used
}

// fill takes n places and returns their ids.
func (f *fixture) fill(n, rank, limit int) []string {
	f.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = string(dedupe.NewToken())
		if ok, wait, used := f.permit(ids[i], rank, limit); !ok {
			f.Fatalf("place %d: wait %v, used %d, want it granted", i, wait, used)
		}
	}
	return ids
}

func (f *fixture) refused(what string, rank, limit int) {
	f.Helper()
	ok, wait, _ := f.permit(string(dedupe.NewToken()), rank, limit)
	if ok || wait <= 0 || wait > time.Hour {
		f.Errorf("%s: granted %v, wait %v, want it refused for at most the window", what, ok, wait)
	}
}

func (f *fixture) permitDone(id string, sent bool) {
	f.Helper()
	f.must(f.store.PermitDone(f.Context(), id, sent))
}

func limitIsKept(f *fixture) {
	f.fill(3, dedupe.RankLive, 3)
	f.refused("the fourth", dedupe.RankLive, 3)
}

func permitGivenBack(f *fixture) {
	ids := f.fill(3, dedupe.RankReplay, 3)
	f.permitDone(ids[1], false)
	f.permitDone(ids[1], false)
	f.fill(1, dedupe.RankLive, 3)
	f.refused("the fourth", dedupe.RankLive, 3)
}

func permitRepeated(f *fixture) {
	for range 3 {
		ok, _, used := f.permit("same", dedupe.RankRedrive, 2)
		f.equal("granted", ok, true)
		f.equal("used", used, 1)
	}
	f.fill(1, dedupe.RankLive, 2)
	ok, _, used := f.permit("same", dedupe.RankRedrive, 2) // full, but it has its place
	f.equal("granted", ok, true)
	f.equal("used", used, 2)
}

func permitAnswered(f *fixture) {
	f.permitDone(f.fill(1, dedupe.RankLive, 1)[0], true)
	f.refused("the second", dedupe.RankLive, 1)
}

func permitRunsOut(f *fixture) {
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
			f.Fatal("the place never became free")
		case <-time.After(wait):
		}
	}
}

func permitPutBack(f *fixture) {
	f.permitDone("an id that the log gave up", true)
	f.refused("the next", dedupe.RankLive, 1)
}

func lowerRanksUseAll(f *fixture) {
	f.fill(20, dedupe.RankReplay, 40)
	f.fill(20, dedupe.RankRedrive, 40)
	f.refused("one more", dedupe.RankLive, 40)
}

func lowerRanksStandBack(f *fixture) {
	const limit = 40 // 5 % are two calls
	ids := f.fill(limit, dedupe.RankLive, limit)
	f.refused("live", dedupe.RankLive, limit)
	for _, id := range ids[:6] {
		f.permitDone(id, false)
	}
	f.permitDone(ids[6], true) // counts as what it was, and to no other rank
	f.permitDone(ids[7], true)
	f.fill(2, dedupe.RankRedrive, limit)
	f.refused("a third redrive", dedupe.RankRedrive, limit)
	f.fill(2, dedupe.RankReplay, limit)
	f.refused("a third replay", dedupe.RankReplay, limit)
	f.fill(2, dedupe.RankLive, limit)
}

func liveLeavesShare(f *fixture) {
	const limit = 40
	ids := f.fill(limit, dedupe.RankLive, limit)
	f.refused("a replay", dedupe.RankReplay, limit)
	for _, id := range ids[:3] {
		f.permitDone(id, false)
	}
	f.fill(1, dedupe.RankLive, limit)
	f.refused("live", dedupe.RankLive, limit)
	f.fill(2, dedupe.RankReplay, limit)
}

func smallLimit(f *fixture) {
	ids := f.fill(2, dedupe.RankLive, 2)
	f.refused("a replay", dedupe.RankReplay, 2)
	f.refused("live", dedupe.RankLive, 2)
	f.permitDone(ids[0], false)
	f.refused("a replay", dedupe.RankReplay, 2)
	f.fill(1, dedupe.RankLive, 2)
}

func throttleStopsAll(f *fixture) {
	f.fill(1, dedupe.RankLive, 10)
	f.must(f.store.Throttle(f.Context(), 2*time.Hour))
	f.must(f.store.Throttle(f.Context(), time.Minute))
	f.must(f.store.Throttle(f.Context(), 0))
	f.store = f.newStore(func(*dedupe.Options) {})
	for _, limit := range []int{10, 1, 0} { // free, full and none
		ok, wait, used := f.permit("next", dedupe.RankLive, limit)
		if ok || wait <= time.Hour || wait > 2*time.Hour || used != 1 {
			f.Errorf("limit %d: granted %v, wait %v, used %d, want it refused for two hours with 1 used", limit, ok, wait, used)
		}
	}
}

func limitOfAnotherScope(f *fixture) {
	f.fill(1, dedupe.RankLive, 1)
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "another" })
	f.fill(1, dedupe.RankLive, 1)
}

func noLimit(f *fixture) { f.fill(50, dedupe.RankReplay, 0) }

func permitRefused(f *fixture) {
	good := dedupe.PermitRequest{Limit: 1, Window: time.Second, ID: "x", Hold: time.Second}
	for what, change := range map[string]func(*dedupe.PermitRequest){
		"no id":         func(r *dedupe.PermitRequest) { r.ID = "" },
		"limit below 0": func(r *dedupe.PermitRequest) { r.Limit = -1 },
		"no window":     func(r *dedupe.PermitRequest) { r.Window = 0 },
		"no such rank":  func(r *dedupe.PermitRequest) { r.Rank = 3 },
		"hold below 0":  func(r *dedupe.PermitRequest) { r.Hold = -1 },
	} {
		r := good
		change(&r)
		_, _, _, err := f.store.Permit(f.Context(), r)
		f.isFault(what, err)
	}
}
