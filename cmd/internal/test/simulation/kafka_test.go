package simulation

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/cmd/internal/test/oracle/history"
)

// A kafkaFault is a fault of Kafka that matches requests.
type kafkaFault struct {
	name  string
	fault kfake.Fault
}

func kafkaFaults() []kafkaFault {
	return []kafkaFault{
		{"fetch", kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: source, Err: kerr.NotLeaderForPartition}},
		{"commit refused", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: group, Err: kerr.CoordinatorLoadInProgress}},
		{"commit lost", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: group, Err: kerr.RequestTimedOut}},
		{"dead letter refused", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: deadLetters, Err: kerr.NotLeaderForPartition}},
		{"dead letter lost", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: deadLetters, Err: kerr.NotEnoughReplicasAfterAppend}},
		{"heartbeat", kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: group, TopLevel: true, Err: kerr.UnknownMemberID}},
		{"join", kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Group: group, TopLevel: true, Err: kerr.CoordinatorNotAvailable}},
		{"offsets", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: group, Err: kerr.NotCoordinator}},
		{"bounds", kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: source, Err: kerr.LeaderNotAvailable}},
	}
}

// A kafkaCluster is kfake in a virtual network. Its source topic can be deleted and created again.
type kafkaCluster struct {
	w        *world
	network  *kfake.VirtualNetwork
	fake     *kfake.Cluster
	client   *kgo.Client
	producer *kgo.Client // to the source topic as it is now

	mu      sync.Mutex
	commits []history.Commit // guarded by mu

	// Used only by the goroutine that runs the actions:
	past      []history.Record // of topics that were deleted
	recreated []time.Time
	missing   bool    // whether the source topic is
	unsent    []draft // records that wait for the source topic
}

func newKafkaCluster(w *world, brokers int) *kafkaCluster {
	k := &kafkaCluster{w: w, network: new(kfake.VirtualNetwork)}
	ports := []int{9001, 9002, 9003}[:brokers]
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(len(ports)), kfake.Ports(ports...), kfake.ListenFn(k.network.Listen),
		kfake.SeedTopics(w.settings.partitions, source, deadLetters, redrives, audits), kfake.GroupMinSessionTimeout(time.Second),
	)
	w.must(err)
	k.fake = cluster
	k.client, k.producer = k.newClient(), k.newClient()
	return k
}

// watchCommits records all commit requests.
func (k *kafkaCluster) watchCommits() {
	k.fake.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		commit, ok := req.(*kmsg.OffsetCommitRequest)
		if !ok {
			return nil, nil, false
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, topic := range commit.Topics {
			if commit.Group != group || topic.Topic != source {
				continue
			}
			for _, p := range topic.Partitions {
				k.commits = append(k.commits, history.Commit{At: time.Now(), Partition: int(p.Partition), Offset: p.Offset})
			}
		}
		return nil, nil, false
	})
}

// stampBatches gives the source topic LogAppendTime. The client library never asks for it, and
// kfake returns the type that is in the batch.
func (k *kafkaCluster) stampBatches() {
	k.fake.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.fake.KeepControl()
		produce, ok := req.(*kmsg.ProduceRequest)
		if !ok {
			return nil, nil, false
		}
		for _, topic := range produce.Topics {
			for _, p := range topic.Partitions {
				if topic.Topic == source || topic.TopicID == k.fake.TopicInfo(source).TopicID {
					stampBatch(p.Records)
				}
			}
		}
		return nil, nil, false
	})
}

// stampBatch changes a record batch of format 2 as a broker does, including the checksum.
func stampBatch(batch []byte) {
	const crc, attributes, firstTimestamp, maxTimestamp, logAppendTime = 17, 21, 27, 35, 0x08
	batch[attributes+1] |= logAppendTime
	now := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint64(batch[firstTimestamp:], now)
	binary.BigEndian.PutUint64(batch[maxTimestamp:], now)
	sum := crc32.Checksum(batch[attributes:], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(batch[crc:], sum)
}

// A membership wraps kfake's group coordinator. kfake restarts the wait for members with each
// member that joins, and crashed members count, so that a few clients that give up and rejoin can
// keep each other waiting without end. A real broker's wait is bounded: members that join late are
// told to join again.
type membership struct {
	w *world

	mu    sync.Mutex
	begun time.Time            // start of the rebalance; zero: none
	heard map[string]time.Time // when each member last sent a request
}

const (
	sessionTimeout   = 10 * time.Second
	rebalanceTimeout = 15 * time.Second
	newcomersFor     = 5 * time.Second
)

func (m *membership) control(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's order
	m.mu.Lock()
	defer m.mu.Unlock()
	switch r := req.(type) {
	case *kmsg.HeartbeatRequest:
		m.heard[r.MemberID] = time.Now()
	case *kmsg.JoinGroupRequest:
		m.heard[r.MemberID] = time.Now()
		m.w.log("join", "member", r.MemberID)
		since := time.Since(m.begun)
		switch {
		case m.begun.IsZero() || since > 2*rebalanceTimeout:
			m.begun = time.Now()
		case r.MemberID == "" && since > newcomersFor:
			m.w.kafka.fake.KeepControl()
			res, _ := r.ResponseKind().(*kmsg.JoinGroupResponse)
			res.ErrorCode = kerr.CoordinatorLoadInProgress.Code
			return res, nil, true
		}
	case *kmsg.SyncGroupRequest:
		m.w.log("sync", "member", r.MemberID, "generation", r.Generation, "leads", len(r.GroupAssignment) > 0)
		m.heard[r.MemberID], m.begun = time.Now(), time.Time{}
	case *kmsg.LeaveGroupRequest:
		m.w.log("leave", "member", r.MemberID)
	}
	return nil, nil, false
}

// expire removes members that sent nothing for a session. kfake does that too, but not for a member
// that crashed while it was joining.
func (m *membership) expire() {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	res, err := req.RequestWith(context.Background(), m.w.kafka.client)
	m.w.must(err)
	for _, g := range res.Groups {
		for _, member := range g.Members {
			if g.State == "Stable" && m.silent(member.MemberID) {
				m.w.log("expire", "member", member.MemberID)
				leave := kmsg.NewPtrLeaveGroupRequest()
				leave.Group, leave.MemberID = group, member.MemberID
				leave.Members = []kmsg.LeaveGroupRequestMember{{MemberID: member.MemberID}}
				_, err := leave.RequestWith(context.Background(), m.w.kafka.client)
				m.w.must(err)
			}
		}
	}
}

func (m *membership) silent(member string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	last, known := m.heard[member]
	if !known {
		m.heard[member] = time.Now()
	}
	return known && time.Since(last) > sessionTimeout+time.Second
}

func (k *kafkaCluster) newClient(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(k.fake.ListenAddrs()...), kgo.Dialer(k.network.DialContext),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
	}, opts...)...)
	k.w.must(err)
	return cl
}

func (k *kafkaCluster) produce(batch []draft) {
	if k.missing {
		k.unsent = append(k.unsent, batch...)
		return
	}
	var records []*kgo.Record
	for _, d := range batch {
		k.w.log("produce", "partition", d.partition, "value", string(d.value))
		records = append(records, &kgo.Record{
			Topic: source, Partition: d.partition, Key: d.key, Value: d.value, Headers: d.headers,
			Timestamp: time.Now().Add(-d.age),
		})
	}
	k.w.must(k.producer.ProduceSync(context.Background(), records...).FirstErr())
}

// committed returns the group's offsets of a topic.
func (k *kafkaCluster) committed(name string) map[int]int64 {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	res, err := req.RequestWith(context.Background(), k.client)
	k.w.must(err)
	offsets := make(map[int]int64)
	for _, topic := range res.Topics {
		for _, p := range topic.Partitions {
			if topic.Topic == name {
				offsets[int(p.Partition)] = p.Offset
			}
		}
	}
	return offsets
}

// ends returns the end offsets of a topic. It retries until no fault affects it.
func (k *kafkaCluster) ends(name string) map[int]int64 {
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = name
	for p := range k.w.settings.partitions {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = p, -1
		topic.Partitions = append(topic.Partitions, part)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.Topics = append(req.Topics, topic)
	for ; ; time.Sleep(200 * time.Millisecond) {
		res, err := req.RequestWith(context.Background(), k.client)
		k.w.must(err)
		ends, failed := make(map[int]int64), false
		for _, t := range res.Topics {
			for _, p := range t.Partitions {
				failed = failed || p.ErrorCode != 0
				ends[int(p.Partition)] = p.Offset
			}
		}
		if !failed {
			return ends
		}
	}
}

// readAll reads a topic from its start to its end.
func (k *kafkaCluster) readAll(name string) []history.Record {
	ends, from := k.ends(name), make(map[int32]kgo.Offset)
	left := int64(0)
	for p, end := range ends {
		from[int32(p)] = kgo.NewOffset().At(0) //nolint:gosec // small
		left += end
	}
	cl := k.newClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: from}))
	defer cl.Close()
	var all []history.Record
	for int64(len(all)) < left {
		fetches := cl.PollFetches(context.Background()) // it retries after faults
		k.w.must(fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			rec := history.Record{Partition: int(r.Partition), Offset: r.Offset, Time: r.Timestamp, Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				rec.Headers = append(rec.Headers, history.Header{Key: h.Key, Value: h.Value})
			}
			all = append(all, rec)
		})
	}
	return all
}
