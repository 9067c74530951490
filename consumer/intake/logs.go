package intake

import (
	"github.com/segmentio/kafka-go"

	"membersync/consumer/intake/source"
	"membersync/dlq/partlog"
)

// logs read the topics, each within the memory of its buffer.
type logs struct {
	source, redrives *source.Log
	topic            string // the source topic
}

// redriveHeadroom is how much longer a record of the redrive topic may be, in bytes and in headers:
// it has the headers of its dead letter, and those of the redrive.
const (
	redriveHeadroom        = 128 << 10
	redriveHeadersHeadroom = 100
)

func newLogs(cfg *Config, client *kafka.Client, all buffers) logs {
	bounds := source.Bounds{
		Wait: fetchWait, RecordBytes: cfg.MaxRecordBytes, MaxHeaders: partlog.MaxHeaders, Budget: all.source.fetches,
	}
	l := logs{source: source.NewLog(client, bounds), topic: cfg.Topic}
	bounds.RecordBytes += redriveHeadroom
	bounds.MaxHeaders += redriveHeadersHeadroom
	if all.redrives != nil {
		bounds.Budget = all.redrives.fetches
	}
	l.redrives = source.NewLog(client, bounds)
	return l
}

func (l logs) of(topic string) *source.Log {
	if topic == l.topic {
		return l.source
	}
	return l.redrives
}
