package dedupe

import (
	"context"
	"slices"
)

// Complete marks the events done, moves the versions of their fields forward, writes the digests of
// the fields sent, and releases the lease. The result late means that the token no longer owned the
// lease: nothing was recorded, although a call may have taken effect. The digests of the fields
// sent are deleted then, since that call may have been the last to take effect.
//
// A repetition after a lost reply is not late, even if another token has taken the lease since
// then. It is recognized by the done marks, so this needs at least one Done event.
func (s *MemberStore) Complete(ctx context.Context, c Completion) (late bool, err error) {
	if err := c.check(); err != nil {
		return false, err
	}
	h := s.hasher()
	n, err := s.batch.run(ctx, s.scripts.complete, s.keys(h, c.Member), s.completeArgs(h, c)...).Int()
	if err != nil {
		return false, failed("complete", err)
	}
	return n == 1, nil
}

// completeArgs builds the ARGV of complete.lua.
func (s *MemberStore) completeArgs(h *hasher, c Completion) []any {
	moves := newestVersions(c.Done)
	args := make([]any, 0, 8+4*len(c.Done)+4*len(moves))
	args = append(args, string(c.Token), c.Token.short(), c.Keep, s.opts.DoneTTL.Milliseconds(), s.hours(), len(c.Done), len(moves))
	args = appendDone(args, h, c.Done)
	d := s.digester(c.Member, c.DigestGeneration, true)
	for _, m := range moves {
		digest := ""
		if i := slices.IndexFunc(c.Sent, func(f Field) bool { return f.Name == m.name }); i >= 0 {
			digest = d.sum(c.Sent[i])
		}
		args = append(args, m.name, m.version, packVersion(m.version), digest)
	}
	return append(args, s.opts.MemberTTL.Milliseconds())
}

// appendDone appends the names of the marks, and then hash, redrive number and outcome of each
// event.
func appendDone(args []any, h *hasher, done []DoneEvent) []any {
	names := args
	args = append(args, make([]any, len(done))...)
	for i, e := range done {
		var event string
		args[len(names)+i], event = h.event(e.ID)
		args = append(args, event, e.Redrive, encodeOutcome(e.outcomeText()))
	}
	return args
}

type move struct{ name, version string }

// newestVersions lists the newest version of each field that the events state. A field that no
// event states gets no digest either: a digest is written only together with a version.
func newestVersions(done []DoneEvent) []move {
	var moves []move
	for _, e := range done {
		for _, name := range e.Fields {
			i := slices.IndexFunc(moves, func(m move) bool { return m.name == name })
			if i < 0 {
				moves = append(moves, move{name, e.Version})
				continue
			}
			moves[i].version = max(moves[i].version, e.Version)
		}
	}
	return moves
}
