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

// A trap is a kind of fault of Kafka that waits for requests.
type trap struct {
	name  string
	fault kfake.Fault
}

func traps() []trap {
	return []trap{
		{"fetch", kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: source, Err: kerr.NotLeaderForPartition}},
		{"commit refused", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: group, Err: kerr.CoordinatorLoadInProgress}},
		{"commit lost", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: group, Err: kerr.RequestTimedOut}},
		{"letter refused", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: deadLetters, Err: kerr.NotLeaderForPartition}},
		{"letter lost", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: deadLetters, Err: kerr.NotEnoughReplicasAfterAppend}},
		{"heartbeat", kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: group, TopLevel: true, Err: kerr.UnknownMemberID}},
		{"join", kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Group: group, TopLevel: true, Err: kerr.CoordinatorNotAvailable}},
		{"offsets", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: group, Err: kerr.NotCoordinator}},
		{"bounds", kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: source, Err: kerr.LeaderNotAvailable}},
	}
}

func kafkaFaults() []string {
	var names []string
	for _, t := range traps() {
		names = append(names, t.name)
	}
	return names
}

// setTraps lays some faults of Kafka out over time.
func (w *world) setTraps() {
	r := w.random.roll("kafka")
	for range r.IntN(7) {
		t, at := pick(r, traps()...), between(r, 0, w.horizon)
		t.fault.Count = 1 + r.IntN(6)
		w.at(at, func() {
			h := w.cluster.Fault(t.fault)
			w.ending = append(w.ending, func() {
				for range h.Hits() {
					w.tally.fired("kafka: " + t.name)
				}
				h.Remove()
			})
		})
	}
}

// watchCommits notes what is asked to be committed.
func (w *world) watchCommits() {
	w.cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		commit, ok := req.(*kmsg.OffsetCommitRequest)
		if !ok {
			return nil, nil, false
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, topic := range commit.Topics {
			if commit.Group != group || topic.Topic != source {
				continue
			}
			for _, p := range topic.Partitions {
				w.commits = append(w.commits, history.Commit{At: time.Now(), Partition: int(p.Partition), Offset: p.Offset})
			}
		}
		return nil, nil, false
	})
}

// stampBatches makes the source topic one with LogAppendTime: the client library never asks for it,
// and kfake goes by what is in the batch.
func (w *world) stampBatches() {
	w.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		produce, ok := req.(*kmsg.ProduceRequest)
		if !ok {
			return nil, nil, false
		}
		for _, topic := range produce.Topics {
			for _, p := range topic.Partitions {
				if topic.Topic == source || topic.TopicID == w.cluster.TopicInfo(source).TopicID {
					stampBatch(p.Records)
				}
			}
		}
		return nil, nil, false
	})
}

// stampBatch does to a record batch of format 2 what a broker does, since kfake leaves the checksum
// as it was.
func stampBatch(batch []byte) {
	const crc, attributes, firstTimestamp, maxTimestamp, logAppendTime = 17, 21, 27, 35, 0x08
	batch[attributes+1] |= logAppendTime
	now := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint64(batch[firstTimestamp:], now)
	binary.BigEndian.PutUint64(batch[maxTimestamp:], now)
	sum := crc32.Checksum(batch[attributes:], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(batch[crc:], sum)
}

// A membership stands before kfake's group coordinator. kfake begins the wait for members anew with each one that
// joins, dead ones not left out, so that a few clients that give up and come again can keep each other waiting for ever. A
// real broker's wait has an end: newcomers that come late to a rebalance are told to come again.
type membership struct {
	w *world

	mu    sync.Mutex
	begun time.Time            // of the rebalance; zero: none
	heard map[string]time.Time // when each member was last heard of
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
			m.w.cluster.KeepControl()
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

// expire lets members go that were not heard of for a session. kfake does that too, but not for one that died while it
// waited to join.
func (m *membership) expire() {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	res, err := req.RequestWith(context.Background(), m.w.kafka)
	m.w.must(err)
	for _, g := range res.Groups {
		for _, member := range g.Members {
			if g.State == "Stable" && m.silent(member.MemberID) {
				m.w.log("expire", "member", member.MemberID)
				leave := kmsg.NewPtrLeaveGroupRequest()
				leave.Group, leave.MemberID = group, member.MemberID
				leave.Members = []kmsg.LeaveGroupRequestMember{{MemberID: member.MemberID}}
				_, err := leave.RequestWith(context.Background(), m.w.kafka)
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

func (w *world) newClient(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.Dialer(w.network.DialContext),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
	}, opts...)...)
	w.must(err)
	return cl
}

func (w *world) produce(batch []draft) {
	if w.missing {
		w.unsent = append(w.unsent, batch...)
		return
	}
	var records []*kgo.Record
	for _, d := range batch {
		w.log("produce", "partition", d.partition, "value", string(d.value))
		records = append(records, &kgo.Record{
			Topic: source, Partition: d.partition, Key: d.key, Value: d.value, Headers: d.headers,
			Timestamp: time.Now().Add(-d.age),
		})
	}
	w.must(w.producer.ProduceSync(context.Background(), records...).FirstErr())
}

// committed asks for the group's offsets of a topic.
func (w *world) committed(name string) map[int]int64 {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	res, err := req.RequestWith(context.Background(), w.kafka)
	w.must(err)
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

// ends asks where a topic ends, until no fault strikes.
func (w *world) ends(name string) map[int]int64 {
	for {
		ends, err := w.endsOnce(name)
		if err == nil {
			return ends
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (w *world) endsOnce(name string) (map[int]int64, error) {
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = name
	for p := range w.settings.partitions {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = p, -1
		topic.Partitions = append(topic.Partitions, part)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.Topics = append(req.Topics, topic)
	res, err := req.RequestWith(context.Background(), w.kafka)
	w.must(err)
	ends := make(map[int]int64)
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, err
			}
			ends[int(p.Partition)] = p.Offset
		}
	}
	return ends, nil
}

// readAll reads a topic from its start to its end.
func (w *world) readAll(name string) []history.Record {
	ends, from := w.ends(name), make(map[int32]kgo.Offset)
	left := int64(0)
	for p, end := range ends {
		from[int32(p)] = kgo.NewOffset().At(0) //nolint:gosec // small
		left += end
	}
	cl := w.newClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: from}))
	defer cl.Close()
	var all []history.Record
	for int64(len(all)) < left {
		fetches := cl.PollFetches(context.Background()) // it retries what faults strike
		w.must(fetches.Err())
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
