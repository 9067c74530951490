package settings_test

import (
	"strings"

	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/dlq"
)

// another is a mapping for events of another form.
const another = `version: 1
identity: {event_id: $event.no, employee_id: $event.who, open_user_id: OPEN}
order: {kind: sequence, from: $event.seq}
states: {after: $event.is}
fields: {position: Job Title, leaderId: LEADER}
LOOKUPS
`

func anotherMapping(openUser, leader, lookups string) string {
	return strings.NewReplacer("OPEN", openUser, "LEADER", leader, "LOOKUPS", lookups).Replace(another)
}

func event(text string) kafka.Message { return kafka.Message{Value: []byte(text)} }

// A mapping file defines how events of another form are read.
func mappingFile(s *settingTest) {
	r := s.rig()
	r.SetFile("maps/hr.yaml", anotherMapping("$event.crm", "boss", ""))
	r.produce(event(`{"no":"ev","seq":1,"who":"E1","crm":"FSUID_TEST0001","is":{"Job Title":"Lead"}}`), r.title("canonical", 2))
	p := r.start("MAPPING", "maps/hr.yaml")
	p.applies("ev")
	s.eventually("the other shape's end", func() bool { return len(p.seen.outcomes("")) == 1 })
	p.ends("", consumer.DeadLettered)
	r.wantReason(dlq.ReasonInvalidEvent)
	if got := string(r.CRM.State(member(1))["position"]); got != `"Lead"` {
		s.t.Errorf("position %s", got)
	}
}

// A fault in a mapping ends the program with an error that names its place.
func mappingFaults(s *settingTest) {
	r := s.rig()
	r.SetFile("typo.yaml", strings.Replace(anotherMapping("$event.crm", "boss", ""), "position:", "positio:", 1))
	r.SetFile("table.yaml", anotherMapping("$event.crm", "{from: boss, lookup: bosses}", "lookups: {bosses: {file: bosses.csv}}"))
	r.start("MAPPING", "gone.yaml").refuses(`mapping "gone.yaml" is not built in`)
	r.start("MAPPING", "canonicl").refuses("did you mean canonical?")
	r.start("MAPPING", "typo.yaml").refuses(`typo.yaml:5:10: "positio" is no member field; is position meant?`)
	r.start("MAPPING", "table.yaml").refuses("table.yaml:6:11: lookup bosses: open bosses.csv: file does not exist")
}

// A table is read again when its file changes. An invalid new file is reported, and the table stays
// as it was.
func mappingTable(s *settingTest) {
	r := s.rig()
	r.SetFile("maps/hr.yaml", anotherMapping("{from: $event.who, lookup: members}", "boss", "lookups: {members: {file: members.csv, key: hr, value: crm}}"))
	write := func(text string) {
		r.SetFile("maps/members.csv", text)
	}
	write("hr,crm\nE1,FSUID_TEST0001\n")
	p := r.start("MAPPING", "maps/hr.yaml", "DLQ_STORM_SHARE", "0")
	send := func(id, employee string, want consumer.Outcome) {
		s.t.Helper()
		r.produce(event(`{"no":"` + id + `","seq":1,"who":"` + employee + `","is":{"Job Title":"` + id + `"}}`))
		p.ends(id, want)
	}
	send("known", "E1", consumer.Applied)
	send("unknown", "Sample E2", consumer.DeadLettered)
	r.wantReason(dlq.ReasonUnresolved)
	if text := r.deadLetters(r.Topic + ".dlq")[0].Error; !strings.Contains(text, "lookup members") || strings.Contains(text, "Sample") {
		s.t.Errorf("the dead letter says %q", text)
	}
	write("hr,crm\nE1,FSUID_TEST0001\nSample E2,\n")
	p.says("the one read before stays")
	p.says("maps/members.csv:3: has an empty value")
	send("known still", "E1", consumer.Applied)
	write("hr,crm\nE1,FSUID_TEST0001\nSample E2,FSUID_TEST0002\n")
	p.says("lookup table read again")
	send("known now", "Sample E2", consumer.Applied)
}

// A hash in Redis is a lookup table. While Redis is away events wait, and none is dead-lettered.
func mappingHash(s *settingTest) {
	r := s.rig()
	r.SetFile("hr.yaml", anotherMapping("{from: $event.who, lookup: members}", "{from: boss, lookup: members}", "lookups: {members: {redis: crm-members}}"))
	r.Redis.HSet("crm-members", "E1", "FSUID_TEST0001", "E2", "FSUID_TEST0002")
	p := r.start("MAPPING", "hr.yaml", "DLQ_STORM_SHARE", "0")
	r.produce(event(`{"no":"first","seq":1,"who":"E1","is":{"boss":"E2"}}`))
	p.applies("first")
	if got := string(r.CRM.State(member(1))["leaderId"]); got != `"FSUID_TEST0002"` {
		s.t.Errorf("leaderId %s", got)
	}
	r.Redis.SetError("LOADING sample outage")
	r.produce(event(`{"no":"second","seq":2,"who":"E1","is":{"Job Title":"Lead"}}`), event(`{"no":"third","seq":2,"who":"E3","is":{"Job Title":"Lead"}}`))
	p.says(`"cause":"redis"`)
	if n := len(p.seen.outcomes("second")) + len(p.seen.outcomes("third")) + len(r.deadLetters(r.Topic+".dlq")); n != 0 {
		s.t.Errorf("%d ends while Redis is away", n)
	}
	r.Redis.SetError("")
	p.applies("second")
	p.ends("third", consumer.DeadLettered)
	r.wantReason(dlq.ReasonUnresolved)
	p.Stop()
	r.Redis.Del("crm-members")
	if err := r.Redis.Set("crm-members", "text"); err != nil {
		s.t.Fatal(err)
	}
	r.start("MAPPING", "hr.yaml").refuses("lookup members: key \\\"crm-members\\\" in Redis is no hash")
}
