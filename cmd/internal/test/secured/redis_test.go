package secured

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/dedupe"
)

// perEvent are the commands that the service runs for each event, or every few seconds. It needs
// the others now and then, and check looks for them.
func perEvent() []string {
	return strings.Fields("evalsha time get mget set del hget hmget hset hdel zadd zcard zremrangebyscore zscore")
}

// proveServiceAtRedis takes each command away, and the keys, while the service runs. It names what
// is missing, and continues when it is back.
func (r *rig) proveServiceAtRedis(t *testing.T, s *process) {
	t.Helper()
	for _, command := range r.commandsOf(service) {
		t.Run(command, func(t *testing.T) {
			from := s.logged()
			r.setUser(service, "+"+command)
			p := r.newPerson(true)
			r.produce(p, "Sample Clerk")
			r.wantCheckNames(t, service, command)
			if slices.Contains(perEvent(), command) {
				text := s.await(from, `may not run [a-z, ]*\b`+command+`\b.*`)
				if !strings.Contains(text, "add +"+command) || !strings.Contains(text, "cmd/SECURITY.md") {
					t.Errorf("it does not say what to do: %s", text)
				}
			}
			r.setUser(service)
			r.awaitApplied(t, p)
			servicetest.Eventually(t, "the end of the pause", func() bool { return !s.isPaused("redis") && !s.isPaused("control") })
			if n := r.callsOf(p); n > 2 {
				t.Errorf("%d calls for one event", n)
			}
		})
	}
	t.Run("keys", func(t *testing.T) {
		from := s.logged()
		r.setUser(service, "~ms:*")
		s.await(from, `may not access key \\"ms:.*cmd/SECURITY.md`)
		r.wantCheckFails(t, service, `may not access key "ms:`)
		r.setUser(service)
		r.apply(t)
	})
	r.settle(t)
}

// callsOf counts the calls of a member.
func (r *rig) callsOf(p person) (n int) {
	for _, c := range r.crm.Calls() {
		if c.OpenUserID == p.member {
			n++
		}
	}
	return n
}

// wantCheckNames runs check, which has to name a command that is missing.
func (r *rig) wantCheckNames(t *testing.T, user, command string) {
	t.Helper()
	switch command {
	case "info": // hosted servers often forbid it
		if status, stdout, _ := r.do(t, user, "check"); status != 0 || !strings.Contains(stdout, "add +info") {
			t.Errorf("check without info: status %d: %s", status, stdout)
		}
	case "incr":
		status, _, stderr := r.do(t, user, "resume", "--dead-letter-held", "--yes")
		if status == 0 {
			t.Error("resume --dead-letter-held: status 0")
		}
		wantDenied(t, "resume", []string{"may not run incr: add +incr"}, stderr)
	default:
		r.wantCheckFails(t, user, "may not run "+command+": add +"+command)
	}
}

// proveOnCallAtRedis takes each command away, and the keys, and runs commands that need them.
func (r *rig) proveOnCallAtRedis(t *testing.T) {
	t.Helper()
	p := r.newPerson(true)
	r.produce(p, "Sample Clerk")
	r.awaitApplied(t, p)
	commands := map[string]string{
		"hgetall": "state show " + p.employee, "pttl": "state show " + p.employee, "evalsha": "state show " + p.employee,
		"get": "pause --for 1s --yes", "set": "pause --for 1s --yes", "del": "resume --yes", "mget": "replay --from earliest --dry-run",
	}
	for _, command := range r.commandsOf(onCall) {
		t.Run(command, func(t *testing.T) {
			r.setUser(onCall, "+"+command)
			r.wantCheckNames(t, onCall, command)
			if args := commands[command]; args != "" {
				status, stdout, stderr := r.do(t, onCall, strings.Fields(args)...)
				if status == 0 {
					t.Errorf("%s: status 0", args)
				}
				wantDenied(t, args, []string{"may not run " + command + ": add +" + command}, stdout+stderr)
			}
			r.setUser(onCall)
		})
	}
	t.Run("keys", func(t *testing.T) {
		r.setUser(onCall, "~ms:*")
		_, _, stderr := r.do(t, onCall, "pause", "--yes")
		wantDenied(t, "pause", []string{`may not access key "ms:`}, stderr)
		r.setUser(onCall)
	})
}

// proveMarksComeLast takes HSET away before a completion, until the lease has expired. An event
// must not be done without its version: an older one could then bring its value back.
func (r *rig) proveMarksComeLast(t *testing.T) {
	t.Helper()
	const user = "marks"
	ctx := t.Context()
	acl := func(rules ...any) {
		t.Helper()
		if err := r.redis.Do(ctx, append([]any{"ACL", "SETUSER", user}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
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
func (r *rig) proveCluster(t *testing.T) {
	t.Helper()
	variables := r.environ(service)
	delete(variables, "REDIS_TLS_CA_FILE")
	variables["REDIS_URL"], variables["REDIS_MODE"] = r.startCluster(), "cluster"
	variables["REDIS_USERNAME"], variables["REDIS_PASSWORD"] = service, password
	s := launch(t, r.binary, variables, "run")
	r.apply(t)
	r.settle(t)
	s.terminate()
}
