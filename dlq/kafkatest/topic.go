package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topic creates a topic with a unique name. At the end of the test it deletes that topic and every
// topic whose name is this name, a dot and a suffix.
func (b *Topics) Topic(tb testing.TB, partitions int, configs map[string]string) string {
	tb.Helper()
	name := b.Name(tb)
	b.create(tb, name, partitions, configs)
	return name
}

// Name returns a name for a topic that does not exist. If the topic is created, it is deleted at
// the end of the test as by [Broker.Topic].
func (b *Topics) Name(tb testing.TB) string {
	tb.Helper()
	name := unique()
	tb.Cleanup(func() { b.deleteAll(tb, name) })
	return name
}

// Recreate deletes a topic and creates it again, empty and with offsets from 0.
func (b *Topics) Recreate(tb testing.TB, topic string, partitions int, configs map[string]string) {
	tb.Helper()
	b.Delete(tb, topic)
	b.create(tb, topic, partitions, configs)
}

// Create creates a topic again that was deleted.
func (b *Topics) Create(tb testing.TB, topic string, partitions int) {
	tb.Helper()
	b.create(tb, topic, partitions, nil)
}

// Delete deletes topics.
func (b *Topics) Delete(tb testing.TB, topics ...string) {
	tb.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = timeoutMillis
	for _, topic := range topics {
		req.TopicNames = append(req.TopicNames, topic)
		rt := kmsg.NewDeleteTopicsRequestTopic()
		rt.Topic = new(topic)
		req.Topics = append(req.Topics, rt)
	}
	ctx, cancel := bounded(tb)
	defer cancel()
	res, err := req.RequestWith(ctx, b.kgo)
	check(tb, "deleting topics", err)
	for _, rt := range res.Topics {
		check(tb, "deleting a topic", kerr.ErrorForCode(rt.ErrorCode))
	}
	for _, topic := range topics {
		b.awaitGone(tb, topic)
	}
	b.kgo.PurgeTopicsFromClient(topics...) // otherwise it keeps writing to the old topic's id
}

func (b *Topics) awaitGone(tb testing.TB, topic string) {
	tb.Helper()
	b.retry(tb, "waiting for the deletion of topic "+topic, func(ctx context.Context) error {
		_, err := b.countPartitions(ctx, topic)
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return nil
		case err == nil:
			return errNotYet
		}
		return err
	})
}

// AddPartitions increases a topic's number of partitions to total.
func (b *Topics) AddPartitions(tb testing.TB, topic string, total int) {
	tb.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = timeoutMillis
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = topic, int32of(total)
	req.Topics = append(req.Topics, rt)
	b.retry(tb, "adding partitions", func(ctx context.Context) error {
		res, err := req.RequestWith(ctx, b.kgo)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(res.Topics[0].ErrorCode)
	})
	b.await(tb, topic, total)
}

// DeleteRecords moves the start of a partition's log to offset, as retention does. The records
// before it no longer exist.
func (b *Topics) DeleteRecords(tb testing.TB, topic string, partition int, offset int64) {
	tb.Helper()
	rp := kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Partition, rp.Offset = int32of(partition), offset
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic, rt.Partitions = topic, []kmsg.DeleteRecordsRequestTopicPartition{rp}
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = timeoutMillis
	req.Topics = append(req.Topics, rt)
	b.retry(tb, "deleting records", func(ctx context.Context) error {
		res, err := req.RequestWith(ctx, b.kgo)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(res.Topics[0].Partitions[0].ErrorCode)
	})
}

// Configs returns the settings of a topic.
func (b *Topics) Configs(tb testing.TB, topic string) map[string]string {
	tb.Helper()
	rr := kmsg.NewDescribeConfigsRequestResource()
	rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Resources = append(req.Resources, rr)
	configs := make(map[string]string)
	b.retry(tb, "describing topic "+topic, func(ctx context.Context) error {
		res, err := req.RequestWith(ctx, b.kgo)
		if err != nil {
			return err
		}
		for _, c := range res.Resources[0].Configs {
			if c.Value != nil {
				configs[c.Name] = *c.Value
			}
		}
		return kerr.ErrorForCode(res.Resources[0].ErrorCode)
	})
	return configs
}

func (b *Topics) create(tb testing.TB, name string, partitions int, configs map[string]string) {
	tb.Helper()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, int32of(partitions), -1
	for k, v := range configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, new(v)
		rt.Configs = append(rt.Configs, c)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = timeoutMillis
	req.Topics = append(req.Topics, rt)
	b.retry(tb, "creating topic "+name, func(ctx context.Context) error {
		res, err := req.RequestWith(ctx, b.kgo)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(res.Topics[0].ErrorCode)
	})
	b.await(tb, name, partitions)
}

// await waits until the brokers know the topic and lead its partitions. They learn of it shortly
// after the controller has responded.
func (b *Topics) await(tb testing.TB, topic string, partitions int) {
	tb.Helper()
	b.retry(tb, "waiting for topic "+topic, func(ctx context.Context) error {
		n, err := b.countPartitions(ctx, topic)
		if err == nil && n != partitions {
			return fmt.Errorf("topic has %d partitions: %w", n, errNotYet)
		}
		if err != nil {
			return err
		}
		const latest = -1
		_, err = b.listOffsets(ctx, topic, n, latest)
		return err
	})
}

// countPartitions returns the number of partitions that have a leader.
func (b *Topics) countPartitions(ctx context.Context, topic string) (int, error) {
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = new(topic)
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = append(req.Topics, rt)
	res, err := req.RequestWith(ctx, b.kgo)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, p := range res.Topics[0].Partitions {
		if p.ErrorCode == 0 {
			n++
		}
	}
	return n, kerr.ErrorForCode(res.Topics[0].ErrorCode)
}

// deleteAll deletes the topic and every topic whose name is this name, a dot and a suffix.
func (b *Topics) deleteAll(tb testing.TB, name string) {
	tb.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = nil // all
	ctx, cancel := bounded(tb)
	defer cancel()
	res, err := req.RequestWith(ctx, b.kgo)
	check(tb, "listing topics", err)
	var found []string
	for _, mt := range res.Topics {
		if mt.Topic != nil && (*mt.Topic == name || strings.HasPrefix(*mt.Topic, name+".")) {
			found = append(found, *mt.Topic)
		}
	}
	if len(found) > 0 {
		b.Delete(tb, found...)
	}
}
