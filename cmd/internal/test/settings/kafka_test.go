package settings_test

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"

	"membersync/consumer"
	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

func kafkaTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"CONFIG": configFile, "KAFKA_BROKERS": kafkaBrokers, "KAFKA_TOPIC": kafkaTopic, "KAFKA_GROUP": kafkaGroup,
		"KAFKA_AUTO_OFFSET_RESET": kafkaAutoOffsetReset, "KAFKA_BUFFER_RECORDS": kafkaBufferRecords,
		"KAFKA_BUFFER_BYTES": kafkaBufferBytes, "KAFKA_MAX_RECORD_BYTES": kafkaMaxRecordBytes,
	}
}

// The file names the source topic.
func configFile(s *settingTest) {
	r, other := s.rig(), s.rig()
	r.unset("KAFKA_TOPIC")
	r.SetFile("one.yaml", "kafka:\n  topic: "+r.Topic+"\n")
	r.SetFile("other.yaml", "kafka: {topic: "+other.Topic+"}\n")
	r.produce(r.title("one", 1))
	other.produce(other.title("other", 2))
	one, two := r.start("CONFIG", "one.yaml"), r.start("CONFIG", "other.yaml", "KAFKA_GROUP", other.Group)
	one.applies("one")
	two.applies("other")
	wantEvents(one, "one")
	wantEvents(two, "other")
}

// wantEvents stops the program and checks that it received exactly these events.
func wantEvents(p *program, want ...string) {
	p.rig.t.Helper()
	p.Stop()
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(p.seen.ended))); diff != "" {
		p.rig.t.Errorf("events (-want +got):\n%s", diff)
	}
}

// Two clusters have a topic of the same name. The records of the configured one are processed.
func kafkaBrokers(s *settingTest) {
	r := s.rig()
	for _, id := range []string{"one", "other"} {
		broker := kafkatest.StartFake(s.t, kfake.SeedTopics(1, "in"))
		broker.Produce(s.t, "in", r.title(id, 1))
		p := r.start("KAFKA_BROKERS", strings.Join(broker.Addrs(), ","), "KAFKA_TOPIC", "in")
		p.applies(id)
		wantEvents(p, id)
	}
}

// The records of the configured topic are processed.
func kafkaTopic(s *settingTest) {
	r, other := s.rig(), s.rig()
	r.produce(r.title("one", 1))
	other.produce(other.title("other", 2))
	p := r.start()
	p.applies("one")
	wantEvents(p, "one")
	p = r.start("KAFKA_TOPIC", other.Topic)
	p.applies("other")
	wantEvents(p, "other")
}

// Offsets are committed for the configured group. Another group starts from the beginning.
func kafkaGroup(s *settingTest) {
	r, other := s.rig(), s.broker.Group(s.t)
	committed := func(group string) map[int]int64 { return s.broker.Committed(s.t, group, r.Topic) }
	r.produce(r.title("ev", 1))
	p := r.start()
	p.applies("ev")
	p.Stop()
	if one, two := committed(r.Group), committed(other); one[0] != 1 || len(two) != 0 {
		s.t.Errorf("committed %v and, for an unknown group, %v", one, two)
	}
	p = r.start("KAFKA_GROUP", other)
	p.ends("ev", consumer.Duplicate)
	p.Stop()
	if two := committed(other); two[0] != 1 {
		s.t.Errorf("committed %v for the other group", two)
	}
}

// A new group starts at the beginning or at the end of the log.
func kafkaAutoOffsetReset(s *settingTest) {
	r, other := s.rig(), s.broker.Group(s.t)
	r.produce(r.title("old", 1))
	early := r.start("KAFKA_AUTO_OFFSET_RESET", "earliest")
	late := r.start("KAFKA_AUTO_OFFSET_RESET", "latest", "KAFKA_GROUP", other, "REDIS_PREFIX", "late")
	early.applies("old")
	s.eventually("the start to be committed", func() bool { return s.broker.Committed(s.t, other, r.Topic)[0] == 1 })
	r.produce(r.title("new", 2))
	s.eventually("the new event", func() bool { return len(late.seen.outcomes("new")) == 1 && len(early.seen.outcomes("new")) == 1 })
	if one, two := early.seen.arrivals(), late.seen.arrivals(); !slices.Equal(one, []int64{0, 1}) || !slices.Equal(two, []int64{1}) {
		s.t.Errorf("offsets %v from earliest and %v from latest", one, two)
	}
}

func kafkaBufferRecords(s *settingTest) { s.showBuffer("KAFKA_BUFFER_RECORDS", "1") }

func kafkaBufferBytes(s *settingTest) { s.showBuffer("KAFKA_BUFFER_BYTES", "100B") }

// showBuffer checks that a small buffer takes one record at a time, and that the default takes
// several before the first ends.
func (s *settingTest) showBuffer(name, small string) {
	const n = 4
	tight, wide := s.rig(), s.rig()
	wide.CRM.Block("before")
	tight.produce(tight.titles(n)...)
	wide.produce(wide.titles(n)...)
	one, many := tight.start(name, small), wide.start()
	one.applies("ev-1", "ev-2", "ev-3", "ev-4")
	if got := one.seen.way(); !slices.Equal(got, slices.Repeat([]string{"arrived", "ended"}, n)) {
		s.t.Errorf("%s=%s: %v", name, small, got)
	}
	s.eventually("all to be called at once", func() bool { return wide.CRM.Blocked() == n })
	if got := many.seen.way(); !slices.Equal(got, slices.Repeat([]string{"arrived"}, n)) {
		s.t.Errorf("by default: %v", got)
	}
	wide.CRM.Release()
}

// A larger record is dead-lettered.
func kafkaMaxRecordBytes(s *settingTest) {
	small, large := s.rig(), s.rig()
	small.produce(small.title("ev", 1))
	large.produce(large.title("ev", 1))
	p := small.start("KAFKA_MAX_RECORD_BYTES", "100B")
	large.start().applies("ev")
	p.ends("", consumer.DeadLettered)
	small.wantReason(dlq.ReasonOversized)
}
