package settings_test

import (
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/consumer/schedule/storm"
)

func topicTests() map[string]func(*scene) {
	return map[string]func(*scene){
		"KAFKA_CREATE_TOPICS": kafkaCreateTopics, "DLQ_TOPIC": dlqTopic, "DLQ_REDRIVE_TOPIC": dlqRedriveTopic,
		"DLQ_RETENTION": dlqRetention, "AUDIT_TOPIC": auditTopic, "DLQ_STORM_SHARE": dlqStormShare,
	}
}

// Missing topics of its own are created, or end the program.
func kafkaCreateTopics(s *scene) {
	r := s.rig()
	r.start("KAFKA_CREATE_TOPICS", "false").refuses(r.topic + ".dlq")
	if r.exists(r.topic + ".dlq") {
		s.t.Error("the topic was created all the same")
	}
	r.start("KAFKA_CREATE_TOPICS", "true").says(joined)
	for _, suffix := range []string{".dlq", ".redrive", ".audit"} {
		r.created(r.topic + suffix)
	}
}

// Dead letters go to the topic named.
func dlqTopic(s *scene) {
	r, other := s.rig(), s.rig()
	p, q := r.start(), other.start("DLQ_TOPIC", other.topic+".dead")
	for _, each := range []*rig{r, other} {
		each.produce(kafka.Message{Value: []byte("no event")})
	}
	p.ends("", consumer.DeadLettered)
	q.ends("", consumer.DeadLettered)
	if n := len(r.letters(r.topic + ".dlq")); n != 1 {
		s.t.Errorf("%d letters in the default topic", n)
	}
	if n := len(other.letters(other.topic + ".dead")); n != 1 || other.exists(other.topic+".dlq") {
		s.t.Errorf("%d letters in the topic named", n)
	}
}

func dlqRedriveTopic(s *scene) { s.showTopic("DLQ_REDRIVE_TOPIC", ".redrive") }

func auditTopic(s *scene) { s.showTopic("AUDIT_TOPIC", ".audit") }

// showTopic wants the topic named to be created, and the default one otherwise.
func (s *scene) showTopic(name, suffix string) {
	r, other := s.rig(), s.rig()
	p, q := r.start(), other.start(name, other.topic+".other")
	p.says(joined)
	q.says(joined)
	r.created(r.topic + suffix)
	other.created(other.topic + ".other")
	if r.exists(r.topic+".other") || other.exists(other.topic+suffix) {
		s.t.Error("the other topic was created too")
	}
}

// The topics of dead letters and of the audit keep records for so long.
func dlqRetention(s *scene) {
	for _, retention := range []time.Duration{time.Hour, 720 * time.Hour} {
		r := s.rig()
		r.start("DLQ_RETENTION", retention.String()).says(joined)
		for _, suffix := range []string{".dlq", ".audit"} {
			want := strconv.FormatInt(retention.Milliseconds(), 10)
			if got := s.broker.Configs(s.t, r.topic+suffix)["retention.ms"]; got != want {
				s.t.Errorf("%s: retention.ms %s, want %s", suffix, got, want)
			}
		}
	}
}

// When a larger share of the events than this would be dead-lettered, no more are: perhaps none at all, since records are read faster
// than letters are written.
func dlqStormShare(s *scene) {
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
			s.eventually("the dead letters", func() bool { return len(r.letters(r.topic+".dlq")) == each })
		}
		p.stop()
		if n := len(r.letters(r.topic + ".dlq")); stops && n >= storm.Least {
			s.t.Errorf("%d dead letters with a share of %s", n, share)
		}
	}
}
