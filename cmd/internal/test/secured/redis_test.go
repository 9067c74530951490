package secured

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
)

// perEvent are the commands that the service runs for each event, or every few seconds. It needs
// the others now and then, and check looks for them. It needs hrandfield for one event in four.
func perEvent() []string {
	return strings.Fields("evalsha time get set del persist hget hmget hset hdel hrandfield zadd zcard zremrangebyscore zscore")
}

// proveServiceAtRedis takes each command away, and the keys, while the service runs. It names what
// is missing, and continues when it is back.
func proveServiceAtRedis(t *testing.T, r *rig, s *servicetest.Process) {
	t.Helper()
	for _, command := range r.page.commandsOf(service) {
		t.Run(command, func(t *testing.T) {
			from := logged(s)
			r.setRedisUser(t, service, "+"+command)
			p := r.source.event(t)
			wantCheckNames(t, r, service, command)
			if slices.Contains(perEvent(), command) {
				servicetest.Eventually(t, "an event that needs the command", func() bool {
					if command != "hrandfield" || strings.Contains(s.Err.String()[from:], "may not run hrandfield") {
						return true
					}
					if r.source.position(p.member) == r.source.want[p.member] {
						p = r.source.event(t)
					}
					return false
				})
				text := s.Await(from, `may not run [a-z, ]*\b`+command+`\b.*`)[0]
				if !strings.Contains(text, "add +"+command) || !strings.Contains(text, "cmd/SECURITY.md") {
					t.Errorf("it does not say what to do: %s", text)
				}
			}
			r.setRedisUser(t, service)
			r.source.awaitApplied(t, p)
			servicetest.Eventually(t, "the end of the pause", func() bool { return !isPaused(t, s, "redis") && !isPaused(t, s, "control") })
			calls := slices.DeleteFunc(r.crm.Calls(), func(c crmapitest.Seen) bool { return c.OpenUserID != p.member })
			if n := len(calls); n > 2 {
				t.Errorf("%d calls for one event", n)
			}
		})
	}
	t.Run("keys", func(t *testing.T) {
		from := logged(s)
		r.setRedisUser(t, service, "~ms:*")
		s.Await(from, `may not access key \\"ms:.*cmd/SECURITY.md`)
		r.program.wantCheckFails(t, service, `may not access key "ms:`)
		r.setRedisUser(t, service)
		r.source.apply(t)
	})
	r.source.settle(t)
}

// wantCheckNames runs check, which has to name a command that is missing.
func wantCheckNames(t *testing.T, r *rig, user, command string) {
	t.Helper()
	switch command {
	case "info": // hosted servers often forbid it
		if status, stdout, _ := r.program.do(t, user, "check"); status != 0 || !strings.Contains(stdout, "add +info") {
			t.Errorf("check without info: status %d: %s", status, stdout)
		}
	case "incr":
		status, _, stderr := r.program.do(t, user, "resume", "--dead-letter-held", "--yes")
		if status == 0 {
			t.Error("resume --dead-letter-held: status 0")
		}
		wantDenied(t, "resume", []string{"may not run incr: add +incr"}, stderr)
	default:
		r.program.wantCheckFails(t, user, "may not run "+command+": add +"+command)
	}
}

// proveOnCallAtRedis takes each command away, and the keys, and runs commands that need them.
func proveOnCallAtRedis(t *testing.T, r *rig) {
	t.Helper()
	p := r.source.apply(t)
	commands := map[string]string{
		"hgetall": "state show " + p.employee, "pttl": "state show " + p.employee, "evalsha": "state show " + p.employee,
		"get": "pause --for 1s --yes", "set": "pause --for 1s --yes", "del": "resume --yes", "hmget": "replay --from earliest --dry-run",
	}
	for _, command := range r.page.commandsOf(onCall) {
		t.Run(command, func(t *testing.T) {
			r.setRedisUser(t, onCall, "+"+command)
			wantCheckNames(t, r, onCall, command)
			if args := commands[command]; args != "" {
				status, stdout, stderr := r.program.do(t, onCall, strings.Fields(args)...)
				if status == 0 {
					t.Errorf("%s: status 0", args)
				}
				wantDenied(t, args, []string{"may not run " + command + ": add +" + command}, stdout+stderr)
			}
			r.setRedisUser(t, onCall)
		})
	}
	t.Run("keys", func(t *testing.T) {
		r.setRedisUser(t, onCall, "~ms:*")
		_, _, stderr := r.program.do(t, onCall, "pause", "--yes")
		wantDenied(t, "pause", []string{`may not access key "ms:`}, stderr)
		r.setRedisUser(t, onCall)
	})
}

// proveMarksComeLast takes HSET away before a completion, until the lease has expired. An event
// must not be done without its version: an older one could then bring its value back.
func proveMarksComeLast(t *testing.T, r *rig) {
	t.Helper()
	const user = "marks"
	ctx := t.Context()
	acl := func(rules ...any) {
		t.Helper()
		doRedis(t, r.redis, append([]any{"ACL", "SETUSER", user}, rules...)...)
	}
	acl("on", ">"+password, "~"+user+":*", "+@all")
	options := *r.redis.Options()
	options.Username, options.Password = user, password
	client := redis.NewClient(&options)
	t.Cleanup(func() { _ = client.Close() })
	store, err := dedupe.New(client, dedupe.Options{Prefix: user, DoneTTL: time.Hour, Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	member, id := dedupe.NewMember(r.crmURL, corp, "FSUID_TEST"), dedupe.NewEventID(r.topic, "ev", 0, "1")
	token, version, field := dedupe.NewToken(), strings.Repeat("1", 64), dedupe.Field{Name: "position", Value: []byte("x")}
	_, err = store.Acquire(ctx, dedupe.AcquireRequest{
		Member: member, Token: token, Events: []dedupe.Event{{ID: id, Version: version, Fields: []dedupe.Field{field}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := dedupe.Completion{Member: member, Token: token, Done: []dedupe.DoneEvent{
		{ID: id, Outcome: "applied", Version: version, Fields: []string{field.Name}},
	}}
	acl("-hset")
	if _, err := store.Complete(ctx, done); err == nil {
		t.Fatal("completed without HSET")
	}
	acl("+hset")
	if err := r.redis.Del(ctx, user+":{"+store.MemberHash(member)+"}:lease").Err(); err != nil { // as if it had expired
		t.Fatal(err)
	}
	late, err := store.Complete(ctx, done)
	if err != nil || !late {
		t.Errorf("the completion counts, although the lease has expired and no version was written: late %v, %v", late, err)
	}
	if marks, err := store.Done(ctx, member, []dedupe.EventID{id}); err != nil || marks[0].Done {
		t.Errorf("the event is done without its version: %v", err)
	}
}

// proveCluster runs the service with a Redis Cluster, where it may do as little.
func proveCluster(t *testing.T, r *rig) {
	t.Helper()
	variables := r.program.environ(service)
	delete(variables, "REDIS_TLS_CA_FILE")
	variables["REDIS_URL"], variables["REDIS_MODE"] = startCluster(t, r.host, r.page), "cluster"
	variables["REDIS_USERNAME"], variables["REDIS_PASSWORD"] = service, password
	s := r.program.startWith(t, variables, "run")
	r.source.apply(t)
	r.source.settle(t)
	s.Stop()
}
