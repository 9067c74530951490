package consumer_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/consumer"
)

// The leader of the group asks for the partitions of both topics when the broker does not know one
// of the topics yet. A moment later the broker knows it, and its partitions must be assigned. Only
// the leader asks for both topics at once.
func TestPartitionsUnknownToTheLeaderAreAssignedLater(t *testing.T) {
	t.Parallel()
	for name, unknown := range map[string]func(r *rig) string{
		"of the source topic":  func(r *rig) string { return r.kafka.topic },
		"of the redrive topic": func(r *rig) string { return r.kafka.topics().Redrive },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newFakeRig(t, 2)
			topic := unknown(r)
			var incomplete atomic.Int32
			r.kafka.Fake().ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
				asked, ok := req.(*kmsg.MetadataRequest)
				if !ok || len(asked.Topics) < 2 {
					return nil, nil, false
				}
				incomplete.Add(1)
				return metadataWithout(asked, topic), nil, true
			})
			r.start(r.dlq.redriving, func(cfg *consumer.Config, _ *consumer.Parts) {
				cfg.Session.Watch = 100 * time.Millisecond
			})
			r.process(r.change(1, fields{"position": "First"}), r.change(2, fields{"mobile": "1"}))
			r.crm.wantField(1, "position", `"First"`)
			r.wantOutcomes("ev-1", consumer.Applied)
			r.process(r.change(3, fields{"gender": "X"}))
			for _, item := range r.dlq.items() {
				r.dlq.redrive(item)
			}
			r.redrivesSettled()
			if incomplete.Load() != 1 {
				t.Errorf("the leader got %d incomplete responses, want 1", incomplete.Load())
			}
		})
	}
}

// metadataWithout responds with two partitions of each topic, except that it reports the missing
// topic as unknown.
func metadataWithout(req *kmsg.MetadataRequest, missing string) *kmsg.MetadataResponse {
	resp, _ := req.ResponseKind().(*kmsg.MetadataResponse)
	for _, asked := range req.Topics {
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = asked.Topic
		if *asked.Topic == missing {
			topic.ErrorCode = kerr.UnknownTopicOrPartition.Code
		} else {
			for id := range int32(2) {
				partition := kmsg.NewMetadataResponseTopicPartition()
				partition.Partition = id
				topic.Partitions = append(topic.Partitions, partition)
			}
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}
