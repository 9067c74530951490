package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/crmapi/crmapitest"
	"membersync/dlq/kafkatest"
)

// redisEnv names the URL of a real Redis, as in the tests of dedupe.
const redisEnv = "MEMBERSYNC_TEST_REDIS"

// A rig is the shared one with a Redis outside of the test's process, for programs that are
// processes too.
type rig struct {
	*servicetest.Rig
	t              *testing.T
	redis          *redis.Client
	prefix         string
	stopShortening func() // ends shortenLeases
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
	r := &rig{t: t, prefix: "e2e-" + strings.ToLower(rand.Text()), stopShortening: func() {}}
	url := r.startRedis(s.redisPassword)
	r.Rig = servicetest.New(t, kafkatest.Start(t), servicetest.Options{Partitions: s.partitions, CRM: s.crm, Wrap: s.front, RedisURL: url})
	maps.Copy(r.Variables, map[string]string{"REDIS_PREFIX": r.prefix, "ADMIN_ADDR": "127.0.0.1:0", "LOG_FORMAT": "json"})
	if s.redisPassword != "" {
		r.Variables["REDIS_USERNAME"], r.Variables["REDIS_PASSWORD"] = r.prefix, s.redisPassword
	}
	return r
}

// startRedis connects to the real Redis, or to a fake one that it starts, and returns the URL. With
// a password it adds a user whose name is the prefix.
func (r *rig) startRedis(password string) (url string) {
	r.t.Helper()
	url = os.Getenv(redisEnv)
	isReal := url != ""
	if !isReal {
		url = "redis://" + startMini(r.t, r.prefix, password)
	}
	opts, err := redis.ParseURL(url)
	if err != nil {
		r.t.Fatalf("%s is not a valid URL of a Redis", redisEnv)
	}
	if password != "" && !isReal {
		opts.Username, opts.Password = r.prefix, password
	}
	r.redis = redis.NewClient(opts)
	r.t.Cleanup(r.leaveRedis)
	if password != "" && isReal {
		if err := r.redis.Do(r.t.Context(), "ACL", "SETUSER", r.prefix, "on", ">"+password, "~"+r.prefix+"*", "&*", "+@all").Err(); err != nil {
			r.t.Fatalf("making a user in Redis: %v", err)
		}
	}
	return url
}

// startMini starts a fake Redis and returns its address. With an empty password it needs none.
func startMini(t *testing.T, user, password string) string {
	t.Helper()
	cmd := exec.Command(binary("miniredis")) //nolint:gosec,noctx // our own; it ends with its input
	if password != "" {
		cmd.Args = append(cmd.Args, user, password)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the fake Redis: %v", err)
		}
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(addr)
}

// leaveRedis deletes the test's keys from a real Redis.
func (r *rig) leaveRedis() {
	ctx := context.WithoutCancel(r.t.Context())
	for _, key := range r.keys(ctx) {
		r.redis.Del(ctx, key)
	}
	r.redis.Do(ctx, "ACL", "DELUSER", r.prefix)
	_ = r.redis.Close()
}

func (r *rig) keys(ctx context.Context) []string {
	r.t.Helper()
	var keys []string
	scan := r.redis.Scan(ctx, 0, r.prefix+"*", 1000).Iterator()
	for scan.Next(ctx) {
		keys = append(keys, scan.Val())
	}
	if err := scan.Err(); err != nil {
		r.t.Error(err)
	}
	return keys
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

// startVictim starts a process that will be killed while the CRM holds its calls. No call times out
// before that. It ends what shortenLeases began.
func (r *rig) startVictim() *process {
	r.t.Helper()
	r.stopShortening()
	return r.start(map[string]string{"CRM_TIMEOUT": "10m"})
}

// shortenLeases shortens the leases of a killed process to those of a timeout of 1 s. It continues
// until the next victim starts: Redis may still have commands to run that the killed process sent.
func (r *rig) shortenLeases() {
	r.t.Helper()
	if r.shorten(r.t.Context()) == 0 {
		r.t.Fatal("the killed process left no lease")
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	r.stopShortening = func() { cancel(); <-done }
	r.t.Cleanup(r.stopShortening)
	go func() {
		defer close(done)
		for ticker := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				ticker.Stop()
				return
			case <-ticker.C:
				r.shorten(context.WithoutCancel(ctx))
			}
		}
	}()
}

// shorten shortens the leases that only a victim can have taken, and returns how many there were.
func (r *rig) shorten(ctx context.Context) (leases int) {
	for _, key := range r.keys(ctx) {
		if !strings.HasSuffix(key, ":lease") {
			continue
		}
		left, err := r.redis.PTTL(ctx, key).Result()
		if err == nil && left > time.Minute {
			leases++
			err = r.redis.PExpire(ctx, key, 7*time.Second).Err()
		}
		if err != nil {
			r.t.Error(err)
		}
	}
	return leases
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
