package settings_test

import (
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/consumer/schedule/storm"
)

func topicTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"KAFKA_CREATE_TOPICS": kafkaCreateTopics, "DLQ_TOPIC": dlqTopic, "DLQ_REDRIVE_TOPIC": dlqRedriveTopic,
		"DLQ_RETENTION": dlqRetention, "AUDIT_TOPIC": auditTopic, "DLQ_STORM_SHARE": dlqStormShare,
	}
}

// Missing topics of membersync are created, or end the program.
func kafkaCreateTopics(s *settingTest) {
	r := s.rig()
	r.start("KAFKA_CREATE_TOPICS", "false").refuses(r.Topic + ".dlq")
	if r.exists(r.Topic + ".dlq") {
		s.t.Error("the topic was created nevertheless")
	}
	r.start("KAFKA_CREATE_TOPICS", "true").says(joined)
	for _, suffix := range []string{".dlq", ".redrive", ".audit"} {
		r.created(r.Topic + suffix)
	}
}

// Dead letters are written to the configured topic.
func dlqTopic(s *settingTest) {
	r, other := s.rig(), s.rig()
	p, q := r.start(), other.start("DLQ_TOPIC", other.Topic+".dead")
	for _, each := range []*rig{r, other} {
		each.produce(kafka.Message{Value: []byte("no event")})
	}
	p.ends("", consumer.DeadLettered)
	q.ends("", consumer.DeadLettered)
	if n := len(r.deadLetters(r.Topic + ".dlq")); n != 1 {
		s.t.Errorf("%d dead letters in the default topic", n)
	}
	if n := len(other.deadLetters(other.Topic + ".dead")); n != 1 || other.exists(other.Topic+".dlq") {
		s.t.Errorf("%d dead letters in the topic named", n)
	}
}

func dlqRedriveTopic(s *settingTest) { s.showTopic("DLQ_REDRIVE_TOPIC", ".redrive") }

func auditTopic(s *settingTest) { s.showTopic("AUDIT_TOPIC", ".audit") }

// showTopic checks that the configured topic is created, and otherwise the default one.
func (s *settingTest) showTopic(name, suffix string) {
	r, other := s.rig(), s.rig()
	p, q := r.start(), other.start(name, other.Topic+".other")
	p.says(joined)
	q.says(joined)
	r.created(r.Topic + suffix)
	other.created(other.Topic + ".other")
	if r.exists(r.Topic+".other") || other.exists(other.Topic+suffix) {
		s.t.Error("the other topic was created too")
	}
}

// The dead-letter and the audit topic keep records for this time.
func dlqRetention(s *settingTest) {
	for _, retention := range []time.Duration{time.Hour, 720 * time.Hour} {
		r := s.rig()
		r.start("DLQ_RETENTION", retention.String()).says(joined)
		for _, suffix := range []string{".dlq", ".audit"} {
			want := strconv.FormatInt(retention.Milliseconds(), 10)
			if got := s.broker.Configs(s.t, r.Topic+suffix)["retention.ms"]; got != want {
				s.t.Errorf("%s: retention.ms %s, want %s", suffix, got, want)
			}
		}
	}
}

// When more than this share of the events would be dead-lettered, none is any more. Possibly none
// is at all, since records are read faster than dead letters are written.
func dlqStormShare(s *settingTest) {
	const each = 60
	for share, stops := range map[string]bool{"0.3": true, "0.9": false, "0": false} {
		r := s.rig()
		p := r.start("DLQ_STORM_SHARE", share)
		for i := range each {
			r.produce(kafka.Message{Value: []byte("no event")}, r.title(strconv.Itoa(i), i))
		}
		if stops {
			p.says("most events would be dead-lettered")
		} else {
			s.eventually("the dead letters", func() bool { return len(r.deadLetters(r.Topic+".dlq")) == each })
		}
		p.Stop()
		if n := len(r.deadLetters(r.Topic + ".dlq")); stops && n >= storm.Least {
			s.t.Errorf("%d dead letters with a share of %s", n, share)
		}
	}
}
