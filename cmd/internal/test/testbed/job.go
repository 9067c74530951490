package testbed

import (
	"context"
	"crypto/rand"
	"iter"
	"maps"
	"strings"
	"time"
)

// The company and the token that a fake CRM must accept.
const (
	CorpID = "CORP_TEST"
	Token  = "TOKEN_TEST"
)

// A Job is a new topic with its own group, and the instances that consume it.
type Job struct {
	testbed              *Testbed
	Topic, Group, Prefix string
	Partitions           int
	// Binary is the path of the membersync that [Job.Start] and [Job.Command] run: the testbed's,
	// unless another one is set.
	Binary string
	// Variables are the settings of each instance, without MEMBERSYNC_.
	Variables map[string]string
}

// NewJob creates the topic. The instances call the CRM at the URL, without a rate limit unless a
// variable sets one.
func (s *Testbed) NewJob(ctx context.Context, partitions int, crmURL string) (*Job, error) {
	name := "testbed-" + strings.ToLower(rand.Text())
	j := &Job{testbed: s, Topic: name, Group: name, Prefix: name, Partitions: partitions, Binary: s.binary}
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

// Start starts one more instance and waits until its admin server listens. The variables given
// replace those of the job. [Instance.AwaitReady] waits until the instance has joined the group.
func (j *Job) Start(ctx context.Context, more map[string]string) (*Instance, error) {
	variables := maps.Clone(j.Variables)
	maps.Copy(variables, more)
	return j.testbed.start(ctx, j.Binary, variables)
}

// Command starts another command of membersync with the variables of the job. The caller ends it.
func (j *Job) Command(args ...string) (*Process, error) {
	return j.testbed.command(j.Binary, j.Variables, args...)
}

// Produce writes records to the topic. See [Testbed.Produce].
func (j *Job) Produce(ctx context.Context, records iter.Seq[Record]) error {
	return j.testbed.Produce(ctx, j.Topic, records)
}

// Lag returns the number of records that the group has not committed.
func (j *Job) Lag(ctx context.Context) (int64, error) { return j.testbed.Lag(ctx, j.Topic, j.Group) }

// DeadLetters returns the number of records in the dead-letter topic.
func (j *Job) DeadLetters(ctx context.Context) (int64, error) {
	return j.testbed.Count(ctx, j.Topic+".dlq")
}

// lagEvery is how often the lag is read. The service commits about once a second.
const lagEvery = 100 * time.Millisecond

// AwaitDrained waits until the lag is 0. It continues while the broker is away, and ends with the
// context.
func (j *Job) AwaitDrained(ctx context.Context) error {
	return Until(ctx, lagEvery, func(ctx context.Context) (bool, error) {
		lag, err := j.Lag(ctx)
		return err == nil && lag == 0, nil // asked again until the time is up
	})
}

// Drop deletes the job's topics and its state in Redis. Its instances must have ended.
func (j *Job) Drop(ctx context.Context) error {
	if err := j.dropTopics(ctx); err != nil {
		return err
	}
	return j.DropState(ctx)
}

func (j *Job) dropTopics(ctx context.Context) error {
	return j.testbed.DeleteTopics(ctx, j.Topic, j.Topic+".dlq", j.Topic+".redrive", j.Topic+".audit")
}

// DropState deletes the job's keys in Redis.
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
