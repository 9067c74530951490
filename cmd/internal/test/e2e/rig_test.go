package e2e

import (
	"maps"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/crmapi/crmapitest"
	"membersync/dlq/kafkatest"
)

// A rig is the shared one with a Redis outside of the test's process, for programs that are
// processes too.
type rig struct {
	*servicetest.Rig
	t     *testing.T
	CRM   *crm // that of the shared rig
	redis *redisServer
	cli   *cli
}

// A setup holds the options of a rig.
type setup struct {
	partitions    int
	crm           crmapitest.Options
	front         func(http.Handler) http.Handler // wraps the CRM; may be nil
	redisPassword string                          // empty: the processes need no password
}

func newRig(t *testing.T, s setup) *rig {
	t.Helper()
	server, url := startRedis(t, s.redisPassword)
	shared := servicetest.New(t, kafkatest.Start(t), servicetest.Options{Partitions: s.partitions, CRM: s.crm, Wrap: s.front, RedisURL: url})
	maps.Copy(shared.Variables, map[string]string{"REDIS_PREFIX": server.prefix, "ADMIN_ADDR": "127.0.0.1:0", "LOG_FORMAT": "json"})
	if s.redisPassword != "" {
		shared.Variables["REDIS_USERNAME"], shared.Variables["REDIS_PASSWORD"] = server.prefix, s.redisPassword
	}
	return &rig{Rig: shared, t: t, CRM: &crm{shared.CRM, t}, redis: server, cli: &cli{t, shared.Variables}}
}

// isReal reports whether both Kafka and Redis are real.
func isReal() bool { return os.Getenv(kafkatest.Env) != "" && os.Getenv(redisEnv) != "" }

// start starts one more instance. The variables given replace those of the rig.
func (r *rig) start(more map[string]string) *process {
	r.t.Helper()
	variables := maps.Clone(r.Variables)
	maps.Copy(variables, more)
	return start(r.t, variables)
}

// produce writes records to the source topic.
func (r *rig) produce(records []outcome.Record) {
	r.t.Helper()
	msgs := make([]kafka.Message, len(records))
	for i, rec := range records {
		msgs[i] = kafka.Message{Partition: rec.Partition, Key: rec.Key, Value: rec.Value, Time: rec.Time}
		for _, h := range rec.Headers {
			msgs[i].Headers = append(msgs[i].Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
	}
	r.Broker.Produce(r.t, r.Topic, msgs...)
}

// records returns the records of the source topic, and when each was written.
func (r *rig) records() ([]outcome.Record, map[string]time.Time) {
	r.t.Helper()
	var records []outcome.Record
	times := make(map[string]time.Time)
	for _, m := range r.Broker.ReadAll(r.t, r.Topic) {
		rec := outcome.Record{Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value, Time: m.Time}
		for _, h := range m.Headers {
			rec.Headers = append(rec.Headers, outcome.Header{Key: h.Key, Value: h.Value})
		}
		records = append(records, rec)
		times[place(m.Partition, m.Offset)] = m.Time
	}
	return records, times
}

func place(partition int, offset int64) string {
	return strconv.Itoa(partition) + ":" + strconv.FormatInt(offset, 10)
}

// settle waits until the group has committed everything.
func (r *rig) settle() {
	r.t.Helper()
	servicetest.Eventually(r.t, "the lag to end", func() bool { return r.Broker.Lag(r.t, r.Group, r.Topic) == 0 })
}

// wantNoLag checks that everything is committed.
func (r *rig) wantNoLag() {
	r.t.Helper()
	if lag := r.Broker.Lag(r.t, r.Group, r.Topic); lag != 0 {
		r.t.Errorf("lag %d, want 0", lag)
	}
}

// startVictim starts a process that will be killed while the CRM holds its calls. No call times out
// before that. It ends what shortenLeases began.
func (r *rig) startVictim() *process {
	r.t.Helper()
	r.redis.stopShortening()
	return r.start(map[string]string{"CRM_TIMEOUT": "10m"})
}

// evict removes killed members from the group. Kafka would do that at the end of their session.
func (r *rig) evict() {
	r.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.Broker.Addrs()...))
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{r.Group}
	groups, err := describe.RequestWith(r.t.Context(), cl)
	if err != nil {
		r.t.Fatal(err)
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = r.Group
	for _, m := range groups.Groups[0].Members {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = m.MemberID
		leave.Members = append(leave.Members, member)
	}
	left, err := leave.RequestWith(r.t.Context(), cl)
	if err != nil || left.ErrorCode != 0 || len(left.Members) == 0 {
		r.t.Fatalf("removing the killed member from its group: %v %+v", err, left)
	}
}

// sum adds up the series of a metric with the labels over all processes.
func sum(t *testing.T, processes []*process, metric string, labels ...string) int {
	t.Helper()
	total := 0.0
	for _, p := range processes {
		metrics, err := p.Metrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		total += metrics.Sum("membersync_"+metric, labels...)
	}
	return int(total)
}
