package dedupe

import (
	"context"
	"slices"
)

// Restore restores what was known of a member's events before Redis lost it. It marks the events
// done and moves versions forward, without a lease and without a call. What became known since then
// is kept: no version goes back, and no mark with the same or a higher redrive number changes.
// Digests stay, because no call is made. Restore may run alongside the live service, and again
// after a failure.
func (s *MemberStore) Restore(ctx context.Context, m Member, done []DoneEvent) error {
	if err := checkDone(done); err != nil {
		return err
	}
	for chunk := range slices.Chunk(done, markChunk) {
		moves := newestVersions(chunk)
		args := make([]any, 0, 3+3*len(chunk)+2*len(moves))
		args = append(args, s.opts.DoneTTL.Milliseconds(), len(chunk), len(moves))
		h := s.hasher()
		for _, e := range chunk {
			args = append(args, h.order(e.ID), e.Redrive, e.outcomeText())
		}
		for _, v := range moves {
			args = append(args, v.name, v.version)
		}
		keys := s.keys(m, len(chunk), func(i int) EventID { return chunk[i].ID })
		if err := s.batch.run(ctx, s.scripts.restore, keys, args...).Err(); err != nil {
			return failed("restore", err)
		}
	}
	return nil
}

// Forget removes the versions and digests of a member, and the done marks of the given events under
// any order value.
//
// The lease stays: its owner may have a call in flight, whose completion is then the first fact
// stored again. Marks of other events stay until they expire, because a member's marks cannot be
// listed without a scan of every key. So an event that is not named stays a duplicate, and runs
// again only through a redrive or with Reapply. Without versions, the next live event counts as the
// newest, however old it is.
func (s *MemberStore) Forget(ctx context.Context, m Member, ids ...EventID) error {
	keys := s.withPending(m, s.keys(m, len(ids), func(i int) EventID { return ids[i] }))[1:]
	for chunk := range slices.Chunk(keys, markChunk) {
		if err := s.client.Del(ctx, chunk...).Err(); err != nil {
			return failed("forget", err)
		}
	}
	return nil
}
