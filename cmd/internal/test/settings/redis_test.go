package settings_test

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

func redisTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"REDIS_URL": redisURL, "REDIS_MODE": redisMode, "REDIS_USERNAME": redisUsername, "REDIS_PREFIX": redisPrefix,
		"REDIS_PASSWORD": redisPassword(byVariable), "REDIS_PASSWORD_FILE": redisPassword(byFile),
	}
}

// state counts the keys of members in a server's first database.
func state(redis *miniredis.Miniredis, prefix string) int {
	return len(slices.DeleteFunc(redis.Keys(), func(key string) bool { return !strings.HasPrefix(key, prefix+":") }))
}

// The state is kept in the configured server and database.
func redisURL(s *settingTest) {
	r := s.rig()
	other := miniredis.RunT(s.t)
	r.produce(r.title("ev", 1))
	p := r.start()
	p.applies("ev")
	p.Stop()
	if here, there := state(r.Redis, "ms"), state(other, "ms"); here == 0 || there != 0 {
		s.t.Errorf("%d keys in the server named, %d in the other", here, there)
	}
	r.Redis.FlushAll()
	r.start("REDIS_URL", "redis://"+other.Addr()+"/3", "KAFKA_GROUP", s.broker.Group(s.t)).applies("ev")
	if here, there, first := state(r.Redis, "ms"), len(other.DB(3).Keys()), state(other, "ms"); here != 0 || there == 0 || first != 0 {
		s.t.Errorf("%d keys in the first server; in the other %d in database 3, %d in database 0", here, there, first)
	}
}

// One address is a server, a sentinel that names a server, or a node of a cluster. The fake is all
// three, and the mode decides where the state is kept.
func redisMode(s *settingTest) {
	master := miniredis.RunT(s.t)
	for _, tc := range []struct {
		mode             string
		atURL, elsewhere bool
		asks             string
	}{
		{"single", true, false, ""},
		{"sentinel", false, true, "SENTINEL"},
		{"cluster", true, false, "CLUSTER"},
	} {
		r := s.rig()
		asked := beSentinel(r.Redis, master)
		r.produce(r.title("ev", 1))
		p := r.start("REDIS_MODE", tc.mode)
		p.applies("ev")
		p.Stop()
		if here, there := state(r.Redis, "ms") > 0, state(master, "ms") > 0; here != tc.atURL || there != tc.elsewhere {
			s.t.Errorf("%s: state at the URL %v, at the master %v", tc.mode, here, there)
		}
		for command, count := range asked {
			if (count.Load() > 0) != (command == tc.asks) {
				s.t.Errorf("%s: %s was asked %d times", tc.mode, command, count.Load())
			}
		}
		master.FlushAll()
	}
	s.rig().start("REDIS_URL", "redis://127.0.0.1:1,127.0.0.1:2").refuses("several addresses")
}

// beSentinel makes a server answer as a sentinel too, and counts its requests.
func beSentinel(redis, master *miniredis.Miniredis) map[string]*atomic.Int64 {
	asked := map[string]*atomic.Int64{"SENTINEL": new(atomic.Int64), "CLUSTER": new(atomic.Int64)}
	redis.Server().SetPreHook(func(c *server.Peer, command string, args ...string) bool {
		if count, ok := asked[command]; ok {
			count.Add(1)
		}
		switch {
		case command != "SENTINEL":
			return false
		case len(args) == 2 && strings.EqualFold(args[0], "get-master-addr-by-name") && args[1] == "mymaster":
			c.WriteStrings([]string{master.Host(), master.Port()})
		default: // no other sentinels, no replicas
			c.WriteLen(0)
		}
		return true
	})
	return asked
}

// Redis knows only one user.
func redisUsername(s *settingTest) {
	r := s.rig()
	r.Redis.RequireUserAuth("user", "canary")
	r.set("REDIS_PASSWORD", "canary")
	r.start("REDIS_USERNAME", "user").says(joined)
	r.start("REDIS_USERNAME", "unknown").refuses("WRONGPASS")
}

// The password must be Redis' own.
func redisPassword(set setter) func(*settingTest) {
	return func(s *settingTest) {
		right, bad := s.rig(), s.rig()
		for _, r := range []*rig{right, bad} {
			r.Redis.RequireAuth("canary")
		}
		set(right, "REDIS_PASSWORD", "canary")
		set(bad, "REDIS_PASSWORD", wrong)
		p := right.start()
		bad.start().refuses("WRONGPASS")
		p.says(joined)
	}
}

// Every key begins with the prefix.
func redisPrefix(s *settingTest) {
	r := s.rig()
	r.produce(r.title("ev", 1))
	p := r.start("REDIS_PREFIX", "other", "CRM_RATE", "100/20s")
	p.applies("ev")
	p.Stop()
	if all, named := len(r.Redis.Keys()), state(r.Redis, "other"); named == 0 || all != named {
		s.t.Errorf("%d of %d keys begin with the prefix", named, all)
	}
	p = r.start("KAFKA_GROUP", s.broker.Group(s.t))
	p.applies("ev") // unknown under another prefix
	if n := state(r.Redis, "ms"); n == 0 {
		s.t.Error("no key begins with the default prefix")
	}
}
