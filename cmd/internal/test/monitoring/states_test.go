package monitoring

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/crmapi/crmapitest"
	"membersync/dlq/kafkatest"
)

// A state is the service in one state of its status, on a topic, a Redis and a CRM of its own.
type state struct {
	*servicetest.Rig
	t          *testing.T
	name       string // also the job at Prometheus
	binary     string
	prometheus *prometheus
	events     int
}

const (
	accepted = `{"position":"Lead"}`
	rejected = `{"gender":"none"}`
	stateKey = "sample state key, made up for tests"
)

// states produce each state of membersync status with the binary.
func states() map[string]func(*state) {
	return map[string]func(*state){
		"working": func(s *state) {
			s.run()
			s.produce(20, accepted, time.Now())
			s.drained()
		},
		"catching_up": func(s *state) {
			s.run("CRM_RATE", "1/10m")
			s.produce(30, accepted, time.Now().Add(-2*time.Hour))
		},
		"no_instance":   func(*state) {},
		"crm_outage":    func(s *state) { s.crmFails(crmapitest.Fault{Status: 502}) },
		"crm_throttled": func(s *state) { s.crmFails(crmapitest.Fault{Code: crmapitest.CodeThrottled}) },
		"crm_quota":     func(s *state) { s.crmFails(crmapitest.Fault{Code: 30002}) },
		"crm_refused":   func(s *state) { s.crmFails(crmapitest.Fault{Code: crmapitest.CodeCorp}) },
		"redis": func(s *state) {
			s.run()
			s.Redis.Close()
			s.produce(5, accepted, time.Now())
		},
		"kafka": func(s *state) {
			s.run()
			s.Broker.Delete(s.t, s.Topic)
		},
		"dlq": func(s *state) {
			s.Variables["DLQ_STORM_SHARE"] = "0"
			s.Variables["KAFKA_CREATE_TOPICS"] = "false"
			s.createTopics()
			s.run()
			s.produce(1, accepted, time.Now())
			s.drained()
			s.Broker.Delete(s.t, s.Topic+".dlq")
			s.produce(1, rejected, time.Now())
		},
		"storm": func(s *state) {
			s.run("KAFKA_BUFFER_RECORDS", "30")
			s.produce(100, rejected, time.Now())
		},
		"control": func(s *state) {
			s.createTopics()
			s.must("resume", "--dead-letter-held", "--yes", "--actor=sample@host")
			s.breakControlState()
			s.run()
		},
		"paused_by_operator": func(s *state) {
			s.createTopics()
			s.must("pause", "--yes", "--actor=sample@host", "--note=sample note")
			s.run()
			s.produce(5, accepted, time.Now())
		},
		"state_lost": func(s *state) {
			s.run()
			s.produce(5, accepted, time.Now())
			s.drained()
			s.Redis.FlushAll()
		},
		"state_key": func(s *state) {
			first := s.launch([]string{"STATE_KEY", stateKey + " before"}, "run")
			s.produce(5, accepted, time.Now())
			s.drained()
			if status, err := first.Terminate(s.t.Context()); status != 0 || err != nil {
				s.t.Fatalf("status %d: %v", status, err)
			}
			s.Variables["STATE_KEY"] = stateKey
			s.run()
		},
		"mapping_rejects": func(s *state) {
			s.Variables["DLQ_STORM_SHARE"] = "0"
			s.run()
			s.ui()
			s.produce(5, accepted, time.Now())
			s.produce(30, rejected, time.Now())
		},
		"retention_risk": func(s *state) {
			s.CRM.Block(crmapitest.BeforeEffect)
			s.run("CRM_TIMEOUT", "5m")
			s.produce(1, accepted, time.Now().Add(time.Hour-7*24*time.Hour))
		},
		"stuck": func(s *state) {
			s.CRM.Block(crmapitest.BeforeEffect)
			s.run("CRM_TIMEOUT", "5m")
			s.produce(1, accepted, time.Now())
		},
	}
}

func newState(t *testing.T, name, binary string, broker *kafkatest.Broker, prometheus *prometheus) *state {
	t.Helper()
	s := &state{
		Rig: servicetest.New(t, broker, servicetest.Options{Partitions: 2, CRM: crmapitest.Options{AutoCreate: true}}),
		t:   t, name: name, binary: binary, prometheus: prometheus,
	}
	s.Variables["ADMIN_ADDR"] = "127.0.0.1:0"
	s.LetTimePass()
	return s
}

// event is a change of a made-up employee.
func event(n int, after string) []byte {
	return fmt.Appendf(nil, `{"eventId":"ev-%d","sequence":%d,"employeeId":"E%04d","openUserId":"FSUID_TEST%04d","after":%s}`, n, n, n, n, after)
}

// produce writes changes of n different employees.
func (s *state) produce(n int, after string, at time.Time) {
	s.t.Helper()
	var messages []kafka.Message
	for range n {
		s.events++
		messages = append(messages, kafka.Message{Key: fmt.Appendf(nil, "E%04d", s.events), Value: event(s.events, after), Time: at})
	}
	s.Broker.Produce(s.t, s.Topic, messages...)
}

func (s *state) drained() {
	s.t.Helper()
	servicetest.Eventually(s.t, "all events to be processed", func() bool { return s.Broker.Lag(s.t, s.Group, s.Topic) == 0 })
}

// crmFails lets the CRM fail after it has accepted one call.
func (s *state) crmFails(fault crmapitest.Fault) {
	s.t.Helper()
	s.run()
	s.produce(1, accepted, time.Now())
	s.drained()
	fault.Times = -1
	s.CRM.Push(fault)
	s.produce(20, accepted, time.Now())
}

// createTopics creates what the service would create.
func (s *state) createTopics() {
	s.t.Helper()
	for _, suffix := range []string{".dlq", ".redrive", ".audit"} {
		s.Broker.Create(s.t, s.Topic+suffix, 2)
	}
}

// breakControlState writes a text where the service expects a number.
func (s *state) breakControlState() {
	s.t.Helper()
	for _, key := range s.Redis.Keys() {
		if strings.HasSuffix(key, ":releases") {
			if err := s.Redis.Set(key, "no number"); err != nil {
				s.t.Fatal(err)
			}
			return
		}
	}
	s.t.Fatal("no key of the control state")
}
