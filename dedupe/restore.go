package dedupe

import (
	"context"
	"slices"
)

// Restore puts back what was known of a member's events before Redis lost it: it marks
// them done and moves versions forward, without a lease and without a call. What became
// known since is kept: no version goes back, and no mark of the same or a higher redrive
// number changes. Digests stay, for no call is made. It may run beside the live service, and again after a failure.
func (s *Store) Restore(ctx context.Context, m Member, done []DoneEvent) error {
	if err := checkDone(done); err != nil {
		return err
	}
	for chunk := range slices.Chunk(done, markChunk) {
		moves := newestVersions(chunk)
		args := make([]any, 0, 3+3*len(chunk)+2*len(moves))
		args = append(args, s.opts.DoneTTL.Milliseconds(), len(chunk), len(moves))
		for _, e := range chunk {
			args = append(args, e.ID.orderText(), e.Redrive, e.Outcome)
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

// Forget removes the versions and digests of a member, and the done marks of these
// events, under any order value. The lease stays: who holds it may have a call
// under way, whose completion then is the first thing known anew. Marks of other events stay
// until they run out, because a member's marks cannot be listed without a scan of every key; so an event that
// is not named stays a duplicate, and is run again only by a redrive or with Reapply. Without
// versions, whatever live event comes next is taken for the newest, however old.
func (s *Store) Forget(ctx context.Context, m Member, ids ...EventID) error {
	keys := s.keys(m, len(ids), func(i int) EventID { return ids[i] })[1:]
	for chunk := range slices.Chunk(keys, markChunk) {
		if err := s.client.Del(ctx, chunk...).Err(); err != nil {
			return failed("forget", err)
		}
	}
	return nil
}
