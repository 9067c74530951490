package intake

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer/wait"
)

// When a topic that the group consumes does not exist, kafka-go's partition watcher ends each
// generation at once, without a backoff: 190 joins per second were measured for a missing source
// topic, 1,900 for a missing redrive topic. kafka-go's leader assigns nothing of any topic then. A
// member that does not lead is given what it had until the leader joins again, for as long as a
// session if the leader is gone. kafka-go joins again only after all functions of the last
// generation have returned, so a wait in one of them slows the joins down.
//
// A missing source topic is waited for. A missing redrive topic must not stop the source topic: the
// group is joined without it, and once more when it exists. The same holds for topics that the
// credentials may not read.

// shortLived is how long a generation lives at least if its topics exist.
const shortLived = time.Second

var (
	errRedrivesMissing = errors.New("intake: the redrive topic does not exist or may not be read")
	errRedrivesExist   = errors.New("intake: the redrive topic exists again")
)

// awaitTopics returns when the group may be joined again: with backoff after a generation that
// ended at once. The source topic exists then. If the redrive topic does not, the session ends.
//
// Topics are looked for after the backoff only, since the client remembers for a few seconds that a
// topic exists.
func (s *session) awaitTopics(ctx context.Context, lived time.Duration) {
	if lived >= shortLived {
		s.retry.Reset()
	} else if wait.For(ctx, s.retry.NextBackOff()) != nil {
		return
	}
	s.awaitSource(ctx)
	if !s.readsRedrives() {
		return
	}
	err := s.lookUp(ctx, s.cfg.Redrives)
	if errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, kafka.TopicAuthorizationFailed) {
		s.leaveRedrives(ctx, err)
	}
}

// leaveRedrives ends a session, for one without the redrive topic.
func (s *session) leaveRedrives(ctx context.Context, why error) {
	s.logger.LogAttrs(ctx, slog.LevelWarn, "the redrive topic cannot be read; redrives wait for it, other events do not",
		slog.String("topic", s.cfg.Redrives), errAttr(why))
	s.end(errRedrivesMissing)
}

// ask is an Offsets.Partitions that also fails if the credentials may not describe the topic any
// more: the client remembers for a few seconds what it was allowed to see, and the broker does not.
func (s *session) ask(ctx context.Context, topic string) error {
	_, err := s.offsets.Partitions(ctx, topic)
	if err != nil {
		return err
	}
	if _, _, err = s.offsets.Bounds(ctx, topic, 0); errors.Is(err, kafka.TopicAuthorizationFailed) {
		return err
	}
	return nil
}

// awaitSource returns when the source topic exists, or when the context ends.
func (s *session) awaitSource(ctx context.Context) {
	for retry := newBackoff(); s.lookUp(ctx, s.cfg.Topic) != nil; {
		if wait.For(ctx, retry.NextBackOff()) != nil {
			return
		}
	}
}

// watchRedrives ends a session without the redrive topic when that exists.
func (s *session) watchRedrives(ctx context.Context) {
	if s.cfg.Redrives == "" || s.readsRedrives() {
		return
	}
	look := func() error { return s.note(ctx, s.cfg.Redrives, s.ask(ctx, s.cfg.Redrives)) }
	for err := look(); err != nil; err = look() {
		if errors.Is(err, kafka.UnknownTopicOrPartition) {
			s.parts.RedrivesMissing()
		}
		if wait.For(ctx, s.cfg.Session.Watch) != nil {
			return
		}
	}
	if ctx.Err() == nil {
		s.logger.LogAttrs(ctx, slog.LevelInfo, "the redrive topic can be read again", slog.String("topic", s.cfg.Redrives))
		s.end(errRedrivesExist)
	}
}

// lookUp returns why a topic cannot be looked up, or that it does not exist.
func (s *session) lookUp(ctx context.Context, topic string) error {
	_, err := s.offsets.Partitions(ctx, topic)
	return s.note(ctx, topic, err)
}

// note notes whether a topic could be looked up, and returns the error. The end of the context is
// no failure.
func (s *session) note(ctx context.Context, topic string, err error) error {
	key := partitionKey{topic: topic, id: -1}
	if err == nil {
		s.status.worked(ctx, key)
	} else {
		s.status.failed(ctx, key, err)
	}
	return err
}

func (s *session) readsRedrives() bool { return len(s.topics) > 1 }

// otherTopics are those of the next session.
func (in *Intake) otherTopics(topics []string) []string {
	if len(topics) > 1 {
		return []string{in.cfg.Topic}
	}
	return in.cfg.topics()
}
