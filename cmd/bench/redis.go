package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/pflag"

	"membersync/cmd/internal/test/testbed"
	"membersync/dedupe"
)

// redisMemory holds the options of the command redis.
type redisMemory struct {
	members          int
	marks            string
	maxMark, maxHash float64
}

func redisCommand() command {
	return command{
		name: "redis", about: "memory of the state in Redis: for each done mark, and for each member with eight fields and digests",
		options: func(o *testbed.Options) { o.OnlyRedis = true },
		flags: func(f *pflag.FlagSet) measure {
			var m redisMemory
			f.IntVar(&m.members, "members", 50_000, "members of each row")
			f.StringVar(&m.marks, "marks", "1,2,5,20,200", "done marks of each member, comma-separated; there is a row more, of one member with 10,000")
			f.Float64Var(&m.maxMark, "max-mark", 100, "target: bytes for each done mark, where a member has at least two")
			f.Float64Var(&m.maxHash, "max-member", 900, "target: bytes for each member's versions and digests of eight fields")
			return func(ctx context.Context, b *bench) (*report, error) { return m.measure(ctx, b) } // when m is filled
		},
	}
}

// A usage is what a row of the table holds.
type usage struct {
	used     float64 // bytes of used_memory for each member
	usage    int64   // MEMORY USAGE of one key, in bytes
	encoding string  // of that key
}

// manyMarks is the number of marks of the member that has the most.
const manyMarks = 10_000

func (m redisMemory) measure(ctx context.Context, b *bench) (*report, error) {
	r := &report{about: []string{
		fmt.Sprintf("%d members in each row, written by the service's own scripts, with a state key. On a server that nothing else uses, at its default settings.", m.members),
		"bytes = growth of used_memory, with hash tables and expiry, for each mark or member. memory_usage = MEMORY USAGE of one key, in bytes.",
	}}
	marks := table{name: "done marks", columns: []string{"marks_per_member", "bytes_per_mark", "memory_usage", "encoding", "mib_per_million"}}
	counts := []int{}
	for text := range strings.SplitSeq(m.marks, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > manyMarks {
			return nil, fmt.Errorf("invalid --marks %q: want numbers from 1 to %d", m.marks, manyMarks)
		}
		counts = append(counts, n)
	}
	for _, n := range append(counts, manyMarks) {
		members := max(1, min(m.members, 2_000_000/n))
		if n == manyMarks {
			members = 1
		}
		u, err := m.fill(ctx, b, members, n, nil)
		if err != nil {
			return nil, err
		}
		perMark := u.used / float64(n)
		marks.add(n, perMark, u.usage, u.encoding, perMark*1e6/(1<<20))
		if n > 1 {
			r.atMost(fmt.Sprintf("bytes for a done mark, %d of a member", n), perMark, m.maxMark)
		}
	}
	u, err := m.fill(ctx, b, m.members, 0, eightFields())
	if err != nil {
		return nil, err
	}
	members := table{name: "members", columns: []string{"fields", "bytes_per_member", "memory_usage", "encoding", "mib_per_million"}}
	members.add(len(eightFields()), u.used, u.usage, u.encoding, u.used*1e6/(1<<20))
	r.atMost("bytes for a member of eight fields", u.used, m.maxHash)
	r.tables = append(r.tables, marks, members)
	return r, nil
}

// eightFields are those with the longest names and some others.
func eightFields() []string {
	return []string{"attachingDepartmentIds", "mainDepartmentId", "employeeNumber", "birthDate", "hireDate", "position", "mobile", "email"}
}

// fill writes the state of members, each of a number of events, and deletes it again. With fields
// it measures these and leaves the done marks out.
func (m redisMemory) fill(ctx context.Context, b *bench, members, marks int, fields []string) (u usage, err error) {
	rdb := b.RedisClient()
	store, err := dedupe.New(rdb, dedupe.Options{
		Prefix: "ms", Scope: "bench", DoneTTL: 336 * time.Hour, Lease: time.Minute, Key: []byte("a key made up for bench"), DigestTTL: 24 * time.Hour,
	})
	if err != nil {
		return u, err
	}
	switch n, err := rdb.DBSize(ctx).Result(); {
	case err != nil:
		return u, err
	case n > 0:
		return u, fmt.Errorf("bench redis: the database holds %d keys; want an empty one", n)
	}
	before, err := usedMemory(ctx, rdb)
	if err != nil {
		return u, err
	}
	if err := writeState(ctx, store, members, marks, fields); err != nil {
		return u, err
	}
	key := "ms:{" + store.MemberHash(benchMember(0)) + "}:d"
	if fields != nil {
		for n := range members {
			if err := rdb.Del(ctx, "ms:{"+store.MemberHash(benchMember(n))+"}:d").Err(); err != nil {
				return u, err
			}
		}
		key = strings.TrimSuffix(key, "d") + "f"
	}
	after, err := usedMemory(ctx, rdb)
	if err != nil {
		return u, err
	}
	u.used = (after - before) / float64(members)
	if u.usage, err = rdb.MemoryUsage(ctx, key).Result(); err != nil {
		return u, err
	}
	if u.encoding, err = rdb.ObjectEncoding(ctx, key).Result(); err != nil {
		return u, err
	}
	b.say("redis: %d marks, %d fields: %.1f bytes for a member, %s", marks, len(fields), u.used, u.encoding)
	return u, rdb.FlushDB(ctx).Err()
}

func benchMember(n int) dedupe.Member {
	return dedupe.NewMember("https://crm.invalid", "corp-bench", fmt.Sprint(n))
}

// writeState completes events of each member, a hundred at most at once. The pipelines of the store
// need concurrent callers.
func writeState(ctx context.Context, store *dedupe.Store, members, marks int, fields []string) error {
	const writers = 64
	failed := make(chan error, writers)
	for w := range writers {
		go func() {
			var err error
			for n := w; n < members && err == nil; n += writers {
				err = writeMember(ctx, store, benchMember(n), marks, fields)
			}
			failed <- err
		}()
	}
	var first error
	for range writers {
		if err := <-failed; first == nil {
			first = err
		}
	}
	return first
}

func writeMember(ctx context.Context, store *dedupe.Store, m dedupe.Member, marks int, fields []string) error {
	const atOnce = 100
	for first := 0; first < max(marks, 1); first += atOnce {
		token := dedupe.NewToken()
		if _, err := store.Acquire(ctx, dedupe.AcquireRequest{Member: m, Token: token}); err != nil {
			return err
		}
		c := dedupe.Completion{Member: m, Token: token}
		for n := first; n < min(first+atOnce, max(marks, 1)); n++ {
			version := fmt.Sprintf("%064d", n)
			c.Done = append(c.Done, dedupe.DoneEvent{
				ID: dedupe.NewEventID("topic", m.String()+version, 0, version), Outcome: "applied", Version: version, Fields: fields,
			})
		}
		for _, name := range fields {
			c.Sent = append(c.Sent, dedupe.Field{Name: name, Value: []byte("a value made up for bench")})
		}
		if _, err := store.Complete(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// usedMemory is what the server reports, once what was freed is given back.
func usedMemory(ctx context.Context, rdb *redis.Client) (float64, error) {
	info, err := rdb.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); ok {
			return strconv.ParseFloat(text, 64)
		}
	}
	return 0, errors.New("bench redis: the server does not report used_memory")
}
