package consumer_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// The leader of the group reads the partitions of a topic that the broker does not know of yet, and a moment later
// the broker does. Only the leader asks for both topics at once.
func TestAPartitionThatTheLeaderHasNotSeen(t *testing.T) {
	t.Parallel()
	for name, unseen := range map[string]func(r *rig) string{
		"of the source topic":  func(r *rig) string { return r.topic },
		"of the redrive topic": func(r *rig) string { return r.topics().Redrive },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newFakeRig(t, 2, crmapitest.Options{})
			topic := unseen(r)
			var blind atomic.Int32
			r.broker.Fake().ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
				asked, ok := req.(*kmsg.MetadataRequest)
				if !ok || len(asked.Topics) < 2 {
					return nil, nil, false
				}
				blind.Add(1)
				return partly(asked, topic), nil, true
			})
			r.start(r.redriving, func(cfg *consumer.Config, _ *consumer.Parts) { cfg.Session.Watch = 100 * time.Millisecond })
			r.produce(r.change(1, fields{"position": "First"}), r.change(2, fields{"mobile": "1"}))
			r.settled()
			r.wantField(1, "position", `"First"`)
			r.wantOutcomes("ev-1", consumer.Applied)
			dead := r.change(3, fields{"gender": "X"})
			r.produce(dead)
			r.settled()
			for _, item := range r.items() {
				r.redrive(item)
			}
			r.redrivesSettled()
			if blind.Load() != 1 {
				t.Errorf("the leader was blind %d times, want once", blind.Load())
			}
		})
	}
}

// partly answers with one partition of each topic but the unseen one, of which the broker knows nothing.
func partly(req *kmsg.MetadataRequest, unseen string) *kmsg.MetadataResponse {
	resp, _ := req.ResponseKind().(*kmsg.MetadataResponse)
	for _, asked := range req.Topics {
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = asked.Topic
		if *asked.Topic == unseen {
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
