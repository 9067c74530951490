package wiring

import (
	"os"

	"membersync/cmd/internal/config"
	"membersync/consumer"
)

// ConsumerConfig returns the service's configuration. The version is that of the program.
func ConsumerConfig(cfg config.Config, version string) consumer.Config {
	host, _ := os.Hostname() // empty where the system has none
	return consumer.Config{
		Topic: cfg.Kafka.Topic, Redrives: cfg.DLQ.RedriveTopic, Group: cfg.Kafka.Group, Brokers: cfg.Kafka.Brokers,
		StartLatest:   cfg.Kafka.AutoOffsetReset == "latest",
		BufferRecords: cfg.Kafka.BufferRecords, BufferBytes: cfg.Kafka.BufferBytes, MaxRecordBytes: cfg.Kafka.MaxRecordBytes,
		CallConfig: consumer.CallConfig{
			BaseURL: cfg.CRM.BaseURL, CorpID: cfg.CRM.CorpID,
			Concurrency: cfg.CRM.Concurrency, CallTimeout: cfg.CRM.Timeout, Lease: Lease(cfg),
			RetryBudget: cfg.CRM.RetryBudget, QuotaReset: cfg.CRM.QuotaReset.Next,
		},
		DoneTTL: cfg.State.DoneTTL, StormShare: cfg.DLQ.StormShare, DrainLimit: cfg.ShutdownTimeout, Version: version,
		Host: host,
	}
}
