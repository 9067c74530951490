package testbed

import (
	"context"
	"crypto/rand"
	"iter"
	"maps"
	"strings"
	"time"
)

// The company and the token that a fake CRM has to know.
const (
	CorpID = "CORP_TEST"
	Token  = "TOKEN_TEST"
)

// A Job is a fresh topic with a group of its own, and instances that work for it.
type Job struct {
	testbed              *Stand
	Topic, Group, Prefix string
	Partitions           int
	// Variables are those of each instance, without MEMBERSYNC_.
	Variables map[string]string
}

// NewJob creates the topic. The instances will call the CRM at the URL, without a limit unless a variable says so.
func (s *Stand) NewJob(ctx context.Context, partitions int, crmURL string) (*Job, error) {
	name := "stand-" + strings.ToLower(rand.Text())
	j := &Job{testbed: s, Topic: name, Group: name, Prefix: name, Partitions: partitions}
	brokers := s.kafka.addr
	if s.kafka.via != "" {
		brokers = s.kafka.via
	}
	j.Variables = map[string]string{
		"KAFKA_BROKERS": brokers, "KAFKA_TOPIC": j.Topic, "KAFKA_GROUP": j.Group,
		"REDIS_URL": s.redisURL, "REDIS_PREFIX": j.Prefix,
		"CRM_BASE_URL": crmURL, "CRM_CORP_ID": CorpID, "CRM_TOKEN": Token, "CRM_RATE": "0",
		"ADMIN_ADDR": host + ":0", "LOG_FORMAT": "json",
	}
	s.mu.Lock()
	s.jobs = append(s.jobs, j)
	s.mu.Unlock()
	return j, s.CreateTopic(ctx, j.Topic, partitions, nil)
}

// Start starts one more instance and waits until its admin server listens; further variables replace those of the
// job. [Instance.AwaitReady] waits until it has joined the group.
func (j *Job) Start(ctx context.Context, more map[string]string) (*Instance, error) {
	variables := maps.Clone(j.Variables)
	maps.Copy(variables, more)
	return j.testbed.start(ctx, variables)
}

// Produce writes records to the topic; see [Stand.Produce].
func (j *Job) Produce(ctx context.Context, records iter.Seq[Record]) error {
	return j.testbed.Produce(ctx, j.Topic, records)
}

// Lag returns how many records the group has not committed.
func (j *Job) Lag(ctx context.Context) (int64, error) { return j.testbed.Lag(ctx, j.Topic, j.Group) }

// DeadLetters counts what the dead-letter topic holds.
func (j *Job) DeadLetters(ctx context.Context) (int64, error) {
	return j.testbed.Count(ctx, j.Topic+".dlq")
}

// lagEvery is how often the lag is looked at: the service commits about once a second.
const lagEvery = 100 * time.Millisecond

// AwaitDrained waits until the lag is 0. That the broker is away for a while does not end it; the context does.
func (j *Job) AwaitDrained(ctx context.Context) error {
	return Until(ctx, lagEvery, func(ctx context.Context) (bool, error) {
		lag, err := j.Lag(ctx)
		return err == nil && lag == 0, nil // it is asked again until time is up
	})
}

// Drop deletes the job's topics and its state in Redis, once its instances have ended.
func (j *Job) Drop(ctx context.Context) error {
	if err := j.dropTopics(ctx); err != nil {
		return err
	}
	return j.DropState(ctx)
}

func (j *Job) dropTopics(ctx context.Context) error {
	return j.testbed.DeleteTopics(ctx, j.Topic, j.Topic+".dlq", j.Topic+".redrive", j.Topic+".audit")
}

// DropState deletes what Redis holds of the job.
func (j *Job) DropState(ctx context.Context) error {
	const batch = 1000
	var keys []string
	scan := j.testbed.rdb.Scan(ctx, 0, j.Prefix+":*", batch).Iterator()
	unlink := func() error {
		if len(keys) == 0 {
			return nil
		}
		err := j.testbed.rdb.Unlink(ctx, keys...).Err()
		keys = keys[:0]
		return err
	}
	for scan.Next(ctx) {
		if keys = append(keys, scan.Val()); len(keys) == batch {
			if err := unlink(); err != nil {
				return err
			}
		}
	}
	if err := scan.Err(); err != nil {
		return err
	}
	return unlink()
}
