package settings_test

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

const (
	token = servicetest.Token
	// wrong is not a valid password or token.
	wrong = "canary-wrong"
)

// A rig is the shared one with the events and checks of these tests.
type rig struct {
	*servicetest.Rig
	*settingTest
	sequence int
}

// rig returns a rig with a valid configuration. The rate limit is off, so that tests are fast.
func (s *settingTest) rig(options ...crmapitest.Options) *rig {
	s.t.Helper()
	opts := crmapitest.Options{}
	if len(options) > 0 {
		opts = options[0]
	}
	opts.AutoCreate = true
	opts.AppID, opts.AppSecret, opts.PermanentCode = "APP_TEST", "canary-secret", "canary-code"
	r := &rig{Rig: servicetest.New(s.t, s.broker, servicetest.Options{Partitions: 1, CRM: opts}), settingTest: s}
	r.LetTimePass()
	return r
}

func (r *rig) set(name, value string) { r.Variables[name] = value }

func (r *rig) unset(name string) { delete(r.Variables, name) }

// produce writes records to the source topic.
func (r *rig) produce(messages ...kafka.Message) {
	r.t.Helper()
	r.Broker.Produce(r.t, r.Topic, messages...)
}

// change returns an event of a made-up employee that is newer than all previous ones. more adds
// further members of the event.
func (r *rig) change(id string, employee int, after map[string]any, more ...map[string]any) kafka.Message {
	r.t.Helper()
	r.sequence++
	event := map[string]any{
		"eventId": id, "employeeId": fmt.Sprintf("E%04d", employee), "openUserId": member(employee),
		"sequence": r.sequence, "after": after,
	}
	for _, m := range more {
		maps.Copy(event, m)
	}
	body, err := json.Marshal(event)
	if err != nil {
		r.t.Fatal(err)
	}
	return kafka.Message{Key: fmt.Appendf(nil, "E%04d", employee), Value: body}
}

// title returns a change of the position.
func (r *rig) title(id string, employee int) kafka.Message {
	return r.change(id, employee, map[string]any{"position": "Position " + id})
}

// titles returns changes of different employees, named ev-1 and so on.
func (r *rig) titles(n int) []kafka.Message {
	var messages []kafka.Message
	for i := range n {
		messages = append(messages, r.title(fmt.Sprintf("ev-%d", i+1), i+1))
	}
	return messages
}

func member(employee int) string { return fmt.Sprintf("FSUID_TEST%04d", employee) }

// deadLetters returns the dead letters in a topic.
func (r *rig) deadLetters(topic string) []dlq.DeadLetter {
	r.t.Helper()
	var deadLetters []dlq.DeadLetter
	for _, m := range r.Broker.ReadAll(r.t, topic) {
		l, err := dlq.Parse(m)
		if err != nil {
			r.t.Fatal(err)
		}
		deadLetters = append(deadLetters, l)
	}
	return deadLetters
}

// wantReason checks for one dead letter with the reason.
func (r *rig) wantReason(reason dlq.Reason) {
	r.t.Helper()
	if deadLetters := r.deadLetters(r.Topic + ".dlq"); len(deadLetters) != 1 || deadLetters[0].Reason != reason {
		r.t.Errorf("dead letters %+v, want one of %s", deadLetters, reason)
	}
}

// created waits for a topic: the brokers learn of it shortly after the controller's response.
func (r *rig) created(topic string) {
	r.t.Helper()
	client := r.Broker.Client(r.t)
	r.eventually("topic "+topic, func() bool { there, err := r.look(client, topic); return there && err == nil })
}

// exists reports whether a topic exists.
func (r *rig) exists(topic string) (there bool) {
	r.t.Helper()
	client := r.Broker.Client(r.t)
	r.eventually("Kafka's answer", func() bool {
		var err error
		there, err = r.look(client, topic)
		return err == nil
	})
	return there
}

func (r *rig) look(client *kafka.Client, topic string) (there bool, err error) {
	res, err := client.Metadata(r.t.Context(), &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return false, err
	}
	return res.Topics[0].Error == nil, nil
}

// eventually polls until the condition holds.
func (s *settingTest) eventually(what string, ok func() bool) {
	s.t.Helper()
	servicetest.Eventually(s.t, what, ok)
}
