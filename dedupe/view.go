package dedupe

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
)

// A MemberState is what is known of one member, for display. It contains no field values.
type MemberState struct {
	Leased bool
	Holder string        // the first characters of the owner's token; empty without a lease
	Left   time.Duration // remaining time of the lease
	Fields []FieldState  // sorted by name, or in the order asked for
}

// A FieldState is what is known of one field of a member.
type FieldState struct {
	Name    string
	Version string // of the newest event that was not dead-lettered; empty: none
	// Digest reports that an event with the value last sent would cause no call, unless a newer
	// generation of digests has begun.
	Digest bool
	// Pending is the version of the newest value that was handed out and may have reached the CRM
	// unacknowledged. Empty: none.
	Pending string
}

// viewLua reads everything at one moment. It returns only the times of digests, since the digests
// themselves are of no use to a reader.
const viewLua = `
local fields, now = redis.call('HGETALL', KEYS[2]), millis()
for i = 2, #fields, 2 do
  if string.sub(fields[i - 1], 1, 2) == 'd:' then fields[i] = string.sub(fields[i], 1, 6) end
end
local pending = read_pending(redis.call('GET', KEYS[4]), now, function() return false end)
return {redis.call('GET', KEYS[1]) or '', redis.call('PTTL', KEYS[1]), now, fields, (pending_text(pending))}`

// shownTokenLen is the number of characters that distinguish a token from others.
const shownTokenLen = 8

// Member reads the state of a member and of the given fields. With nil it returns all fields of
// which something is known. It changes nothing.
func (s *MemberStore) Member(ctx context.Context, m Member, fields []string) (MemberState, error) {
	reply, err := s.batch.run(ctx, s.scripts.view, s.keys(s.hasher(), m)).Slice()
	if err != nil {
		return MemberState{}, failed("member", err)
	}
	r := replyReader{rest: reply}
	holder, left, now := r.string(), r.int(), r.int()
	known := r.fields()
	known.readPending(r.string())
	if err := r.failed("member"); err != nil {
		return MemberState{}, err
	}
	state := MemberState{Leased: holder != "", Holder: holder[:min(len(holder), shownTokenLen)]}
	if state.Leased {
		state.Left = s.wait(left)
	}
	if fields == nil {
		names := maps.Clone(known.versions)
		maps.Copy(names, known.pending)
		fields = slices.Sorted(maps.Keys(names))
	}
	for _, name := range fields {
		f := FieldState{Name: name, Version: known.versions[name], Digest: s.isFresh(known.digests[name], int64(now))}
		if p := known.pending[name]; p > f.Version {
			f.Pending = p
		}
		state.Fields = append(state.Fields, f)
	}
	return state, nil
}

// A fieldTable is the content of a member's hash, by field.
type fieldTable struct {
	versions, digests map[string]string // digests: the time at which each was written
	pending           map[string]string // the newest pending version
}

func (r *replyReader) fields() fieldTable {
	all, ok := r.next().([]any)
	r.bad = r.bad || !ok
	t := fieldTable{map[string]string{}, map[string]string{}, map[string]string{}}
	inner := replyReader{rest: all}
	for len(inner.rest) > 0 {
		member, value := inner.string(), inner.string()
		if name, ok := strings.CutPrefix(member, "v:"); ok {
			t.versions[name] = unpackVersion(value)
		} else if name, ok := strings.CutPrefix(member, "d:"); ok {
			t.digests[name] = value
		}
	}
	r.bad = r.bad || inner.bad
	return t
}

// readPending reads what pending.lua wrote. The view script has already removed expired entries.
func (t fieldTable) readPending(text string) {
	for len(text) > eventBytes {
		var entry string
		entry, text, _ = strings.Cut(text[eventBytes:], ";")
		parts := strings.Split(entry, ":") // version, token, until, names
		if len(parts) != 4 {
			return
		}
		for name := range strings.SplitSeq(parts[3], ",") {
			t.pending[name] = max(t.pending[name], parts[0])
		}
	}
}

// isFresh reports whether a digest is young enough to be trusted. It must agree with acquire.lua.
func (s *MemberStore) isFresh(written string, now int64) bool {
	if len(written) != 6 || len(s.opts.Key) == 0 {
		return false
	}
	var at int64
	for i := range len(written) {
		at = at<<8 | int64(written[i])
	}
	age := now - at
	return age >= 0 && age < s.opts.DigestTTL.Milliseconds()
}
