package consumer_test

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// The caller builds every client and hands it in. Run, which is not called here, joins the group
// and returns when its context ends and the calls in flight are drained.
func ExampleNew() {
	const callTimeout = 10 * time.Second
	brokers := []string{"localhost:9092"}
	client := &kafka.Client{Addr: kafka.TCP(brokers...)}
	cache := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer func() { _ = cache.Close() }()
	base := url.URL{Scheme: "https", Host: "crm.example.com"}

	mapping, err := mapper.Builtin("canonical", mapper.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	crm, err := crmapi.New(crmapi.Config{BaseURL: &base, CorpID: "CORP_TEST", Timeout: callTimeout, Token: crmapi.FixedToken("token")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	lease := 2*callTimeout + 5*time.Second
	store, err := dedupe.New(cache, dedupe.Options{Prefix: "ms", DoneTTL: 24 * time.Hour, Lease: lease})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	service := consumer.New(consumer.Config{
		Topic: "hris.employee.changed", Group: "membersync", Brokers: brokers,
		BufferRecords: 20_000, BufferBytes: 32 << 20, DrainLimit: 25 * time.Second,
		CallConfig: consumer.CallConfig{
			BaseURL: base.String(), CorpID: "CORP_TEST", Concurrency: 16, CallTimeout: callTimeout, Lease: lease,
			RetryBudget: 15 * time.Minute, QuotaReset: func(now time.Time) time.Time { return now.Add(time.Hour) },
		},
	}, consumer.Parts{
		Kafka: client, Dialer: kafka.DefaultDialer, Mapper: mapping, Store: store, CRM: crm,
		DeadLetters: dlq.NewWriter(client, "hris.employee.changed.dlq"),
		Metrics:     consumer.NewMetrics(prometheus.NewRegistry(), crmapi.Table{}), Logger: slog.Default(),
	})
	fmt.Println(service.Ready())
	// Output: false not joined the consumer group yet
}

// End is exclusive.
func ExampleCovers() {
	ranges := []consumer.Range{{Topic: "hris.employee.changed", Partition: 3, First: 100, End: 200}}
	for _, offset := range []int64{99, 100, 200} {
		rec := mapper.Record{Topic: "hris.employee.changed", Partition: 3, Offset: offset}
		fmt.Println(offset, consumer.Covers(ranges, rec))
	}
	// Output:
	// 99 false
	// 100 true
	// 200 false
}
