package settings_test

import (
	"strings"
	"time"

	"membersync/consumer"
	"membersync/dlq"
)

func stateTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"STATE_DONE_TTL": stateDoneTTL, "STATE_DIGEST_TTL": stateDigestTTL, "ORDER_MAX_AHEAD": orderMaxAhead,
		"STATE_MEMBER_TTL": stateMemberTTL, "STATE_KEY": stateKey(byVariable), "STATE_KEY_FILE": stateKey(byFile),
		"MAPPING": mapping, "TIMEZONE": timezone,
	}
}

// A redelivery is a duplicate only while the done mark exists.
func stateDoneTTL(s *settingTest) {
	for ttl, want := range map[string]consumer.Outcome{"1h": consumer.Applied, "336h": consumer.Duplicate} {
		r := s.rig()
		message := r.title("ev", 1)
		r.produce(message)
		p := r.start("STATE_DONE_TTL", ttl)
		p.applies("ev")
		r.Redis.FastForward(2 * time.Hour)
		r.produce(message)
		s.eventually("the second end", func() bool { return len(p.seen.outcomes("ev")) == 2 })
		p.ends("ev", want)
		p.Stop()
	}
}

// Without a limit, an older value is kept out for good. With one, it is for this time from the last
// event. A time is refused if a topic can hold an event for longer: dead letters for 888 h here.
func stateMemberTTL(s *settingTest) {
	for ttl, want := range map[string]consumer.Outcome{"0": consumer.Superseded, "1000h": consumer.Superseded, "888h": consumer.Applied} {
		r := s.rig()
		older, newer := r.title("older", 1), r.title("newer", 1)
		r.produce(newer)
		p := r.start("STATE_MEMBER_TTL", ttl)
		p.applies("newer")
		r.Redis.FastForward(900 * time.Hour)
		r.produce(older)
		p.ends("older", want)
		p.Stop()
	}
	r := s.rig()
	r.start("STATE_MEMBER_TTL", "887h").refuses("topic " + r.Topic + ".dlq can hold a record for 888h0m0s")
}

// With a key, a value that the CRM holds is not sent again. With another key no call is made.
// Without a key the log warns.
func stateKey(set setter) func(*settingTest) {
	return func(s *settingTest) {
		again := func(r *rig, id string, want consumer.Outcome) (log string) {
			r.produce(r.change(id, 1, map[string]any{"position": "Engineer"}))
			p := r.start()
			p.ends(id, want)
			p.Stop()
			return p.Logs.String()
		}
		const warning = "MEMBERSYNC_STATE_KEY is not set"
		none, keyed := s.rig(), s.rig()
		again(none, "no key", consumer.Applied)
		if log := again(none, "still no key", consumer.Applied); strings.Count(log, warning) != 1 {
			s.t.Error("the log does not warn once that there is no key")
		}
		set(keyed, "STATE_KEY", "canary one, of at least thirty-two bytes")
		again(keyed, "first with a key", consumer.Applied)
		if log := again(keyed, "same key", consumer.Unchanged); strings.Contains(log, warning) {
			s.t.Error("the log warns although there is a key")
		}
		set(keyed, "STATE_KEY", "canary two, of at least thirty-two bytes")
		p := keyed.start()
		s.eventually("the pause", func() bool { return strings.Contains(p.Logs.String(), `"cause":"state_key"`) })
		p.Stop()
	}
}

// A digest is trusted for this time, on Redis' clock.
func stateDigestTTL(s *settingTest) {
	for ttl, want := range map[string]consumer.Outcome{"1h": consumer.Applied, "24h": consumer.Unchanged} {
		r := s.rig()
		r.set("STATE_KEY", "canary of at least thirty-two bytes")
		p := r.start("STATE_DIGEST_TTL", ttl)
		r.produce(r.change("first", 1, map[string]any{"position": "Engineer"}))
		p.applies("first")
		r.Redis.SetTime(time.Now().Add(2 * time.Hour))
		r.produce(r.change("again", 1, map[string]any{"position": "Engineer"}))
		p.ends("again", want)
		p.Stop()
	}
}

// An event whose time is further ahead of its record's is dead-lettered.
func orderMaxAhead(s *settingTest) {
	near, far := s.rig(), s.rig()
	ahead := map[string]any{"occurredAt": time.Now().Add(2 * time.Hour).UTC().Format(time.RFC3339)}
	for _, r := range []*rig{near, far} {
		r.set("MAPPING", "canonical-time")
		r.produce(r.change("ev", 1, map[string]any{"position": "Engineer"}, ahead))
	}
	p, q := near.start("ORDER_MAX_AHEAD", "1h"), far.start("ORDER_MAX_AHEAD", "3h")
	q.applies("ev")
	p.ends("ev", consumer.DeadLettered)
	near.wantReason(dlq.ReasonInvalidEvent)
}

func mapping(s *settingTest) {
	mappingName(s)
	mappingFile(s)
	mappingFaults(s)
	mappingTable(s)
	mappingHash(s)
}

// The sequence makes one of two events the newer one, the time makes the other one newer.
func mappingName(s *settingTest) {
	for mapping, want := range map[string]string{"canonical": `"by sequence"`, "canonical-time": `"by time"`} {
		r := s.rig()
		at := func(t string) map[string]any { return map[string]any{"occurredAt": t} }
		p := r.start("MAPPING", mapping)
		r.produce(
			r.change("first", 1, map[string]any{"position": "by time"}, at("2026-02-02T00:00:00Z")),
			r.change("second", 1, map[string]any{"position": "by sequence"}, at("2026-01-01T00:00:00Z")),
		)
		for _, id := range []string{"first", "second"} {
			s.eventually(id, func() bool { return len(p.seen.outcomes(id)) == 1 })
		}
		if got := string(r.CRM.State(member(1))["position"]); got != want {
			s.t.Errorf("%s: position %s, want %s", mapping, got, want)
		}
		p.Stop()
	}
}

// A date without a zone is midnight in the configured zone, and rejected if none is configured.
func timezone(s *settingTest) {
	for zone, want := range map[string]string{"UTC": `"1773619200000"`, "Asia/Shanghai": `"1773590400000"`, "": ""} {
		r := s.rig()
		r.produce(r.change("ev", 1, map[string]any{"hireDate": "2026-03-16"}))
		p := r.start("TIMEZONE", zone)
		s.eventually("the end", func() bool { return len(p.seen.outcomes("ev")) == 1 })
		if got := string(r.CRM.State(member(1))["hireDate"]); got != want {
			s.t.Errorf("zone %q: hireDate %s, want %s", zone, got, want)
		}
		if want == "" {
			r.wantReason(dlq.ReasonInvalidField)
		}
		p.Stop()
	}
}
