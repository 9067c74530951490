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
		h := s.hasher()
		args := make([]any, 0, 5+4*len(chunk)+2*len(moves))
		args = append(args, s.opts.DoneTTL.Milliseconds(), s.hours(), len(chunk), len(moves))
		args = appendDone(args, h, chunk)
		for _, v := range moves {
			args = append(args, v.name, packVersion(v.version))
		}
		args = append(args, s.opts.MemberTTL.Milliseconds())
		if err := s.batch.run(ctx, s.scripts.restore, s.keys(h, m), args...).Err(); err != nil {
			return failed("restore", err)
		}
	}
	return nil
}

// Forget removes the versions and digests of a member, and the done marks of the given events under
// any order value.
//
// The lease stays: its owner may have a call in flight, whose completion is then the first fact
// stored again. Marks of other events stay until they expire. So an event that is not named stays a
// duplicate, and runs again only through a redrive or with Reapply. Without versions, the next live
// event counts as the newest, however old it is.
func (s *MemberStore) Forget(ctx context.Context, m Member, ids ...EventID) error {
	h := s.hasher()
	keys := s.keys(h, m)
	pipe := s.client.Pipeline()
	pipe.Del(ctx, keys[1], keys[3])
	for chunk := range slices.Chunk(ids, markChunk) {
		names := make([]string, len(chunk))
		for i, id := range chunk {
			names[i], _ = h.event(id)
		}
		pipe.HDel(ctx, keys[2], names...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return failed("forget", err)
	}
	return nil
}
