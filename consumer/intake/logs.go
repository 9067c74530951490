package intake

import (
	"github.com/segmentio/kafka-go"

	"membersync/consumer/intake/source"
	"membersync/dlq/partlog"
)

// logs read the topics, each within the memory of its buffer.
type logs struct {
	source, redrives topicLogs
	topic            string // the source topic
}

// topicLogs read one topic.
type topicLogs struct {
	read *source.Log
	look *source.Log // for single records, while a fetch is held
}

func newTopicLogs(client *kafka.Client, bounds source.Bounds, b *buffer) topicLogs {
	var l topicLogs
	bounds.Budget = b.fetches
	l.read = source.NewLog(client, bounds)
	bounds.Budget = b.looks
	l.look = source.NewLog(client, bounds)
	return l
}

// redriveHeadroom is how much longer a record of the redrive topic may be, in bytes and in headers:
// it has the headers of its dead letter, and those of the redrive.
const (
	redriveHeadroom        = 128 << 10
	redriveHeadersHeadroom = 100
)

func newLogs(cfg *Config, client *kafka.Client, all buffers) logs {
	bounds := source.Bounds{Wait: fetchWait, RecordBytes: cfg.MaxRecordBytes, MaxHeaders: partlog.MaxHeaders}
	l := logs{source: newTopicLogs(client, bounds, all.source), topic: cfg.Topic}
	bounds.RecordBytes += redriveHeadroom
	bounds.MaxHeaders += redriveHeadersHeadroom
	l.redrives = newTopicLogs(client, bounds, all.of(cfg.Redrives))
	return l
}

func (l logs) of(topic string) topicLogs {
	if topic == l.topic {
		return l.source
	}
	return l.redrives
}
