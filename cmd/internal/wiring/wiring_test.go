package wiring

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/wiring/credentials/certtest"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
)

func TestMain(m *testing.M) {
	dedupe.SetClientLog(slog.New(slog.DiscardHandler)) // as the program does
	goleak.VerifyTestMain(m)
}

func load(t *testing.T, more ...string) config.Config {
	t.Helper()
	return loadWith(t, nil, append(more, "MEMBERSYNC_CRM_BASE_URL=https://crm.test", "MEMBERSYNC_CRM_TOKEN=canary")...)
}

// loadWith reads files, and sets nothing of the CRM but the company.
func loadWith(t *testing.T, readFile func(string) ([]byte, error), more ...string) config.Config {
	t.Helper()
	c, _, err := config.Load(nil, append(more, "MEMBERSYNC_CRM_CORP_ID=C1"), readFile)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func files(all map[string][]byte) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		data, ok := all[path]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return data, nil
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	p, err := Build(load(t), Env{Log: &bytes.Buffer{}})
	if err != nil {
		t.Fatal(err)
	}
	if p.Logger == nil || p.Kafka == nil || p.Dialer == nil || p.Redis == nil || p.Store == nil || p.CRM == nil || p.Mapping == nil || p.DeadLetters == nil {
		t.Errorf("a part is missing: %+v", p)
	}
	if token, err := p.Token.Token(t.Context()); token != "canary" || err != nil {
		t.Errorf("token %q, %v", token, err)
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", p.CRM, p.Token), "canary") {
		t.Error("a secret prints")
	}
	p.Close()
	p.Close()
}

func TestBuildWithFetchedToken(t *testing.T) {
	t.Parallel()
	c := load(t, "MEMBERSYNC_STATE_KEY=canary-of-at-least-thirty-two-bytes", "MEMBERSYNC_REDIS_MODE=cluster", "MEMBERSYNC_REDIS_URL=rediss://u:canary@a:1,b:2")
	c.CRM.Token, c.CRM.AppID = config.Secret{}, "A1"
	c.CRM.AppSecret, c.CRM.PermanentCode = config.NewSecret("canary"), config.NewSecret("canary")
	p, err := Build(c, Env{Log: &bytes.Buffer{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := p.Token.(*crmapi.FetchedToken); !ok {
		t.Errorf("token source is %T", p.Token)
	}
	p.Close()
}

// Every fault is told, not the first.
func TestBuildFaults(t *testing.T) {
	t.Parallel()
	c := load(t, "MEMBERSYNC_MAPPING=gone", "MEMBERSYNC_KAFKA_TLS=true", "MEMBERSYNC_KAFKA_TLS_CA_FILE=gone.pem")
	_, err := Build(c, Env{Log: &bytes.Buffer{}, ReadFile: files(nil)})
	if err == nil || !strings.Contains(err.Error(), `mapping "gone"`) || !strings.Contains(err.Error(), "MEMBERSYNC_KAFKA_TLS_CA_FILE: cannot read the file that it names: file does not exist") {
		t.Error(err)
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"json": `"msg":"seen"`, "text": "msg=seen"} {
		var out bytes.Buffer
		log := Logger(format, slog.LevelWarn, &out)
		log.Info("hidden")
		log.Warn("seen")
		if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "hidden") {
			t.Errorf("%s: %s", format, out.String())
		}
	}
}

func TestLease(t *testing.T) {
	t.Parallel()
	if got := Lease(load(t, "MEMBERSYNC_CRM_TIMEOUT=7s")); got != 19*time.Second {
		t.Errorf("lease %v", got)
	}
}

// Transport and dialer both speak TLS, show the client's certificate and log in.
func TestKafkaTLSAndSASL(t *testing.T) {
	t.Parallel()
	ca := certtest.NewAuthority(t)
	own := ca.Issue(t)
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "in"), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "u", "canary"),
		kfake.TLS(ca.Issue(t).Server(t, ca)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	c := load(t, "MEMBERSYNC_KAFKA_BROKERS="+fake.ListenAddrs()[0], "MEMBERSYNC_KAFKA_TOPIC=in", "MEMBERSYNC_KAFKA_TLS=true",
		"MEMBERSYNC_KAFKA_TLS_CA_FILE=ca", "MEMBERSYNC_KAFKA_TLS_CERT_FILE=cert", "MEMBERSYNC_KAFKA_TLS_KEY_FILE=key",
		"MEMBERSYNC_KAFKA_SASL_MECHANISM=SCRAM-SHA-512", "MEMBERSYNC_KAFKA_SASL_USERNAME=u", "MEMBERSYNC_KAFKA_SASL_PASSWORD=canary")
	p, err := Build(c, Env{Log: &bytes.Buffer{}, ReadFile: files(map[string][]byte{"ca": ca.PEM, "cert": own.Cert, "key": own.Key})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	meta, err := p.Kafka.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{"in"}})
	if err != nil || len(meta.Topics[0].Partitions) != 2 {
		t.Errorf("transport: %+v, %v", meta, err)
	}
	conn, err := p.Dialer.DialContext(t.Context(), "tcp", c.Kafka.Brokers[0])
	if err != nil {
		t.Fatal("dialer:", err)
	}
	if _, err := conn.ReadPartitions("in"); err != nil {
		t.Error("dialer:", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

// A broker that refuses our certificate is not waited for: waiting does not fix that.
func TestKafkaRefusesTheCertificate(t *testing.T) {
	t.Parallel()
	ca := certtest.NewAuthority(t)
	own := ca.Issue(t)
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "in"), kfake.TLS(ca.Issue(t).Server(t, certtest.NewAuthority(t))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	for name, more := range map[string][]string{
		"none":    nil,
		"another": {"MEMBERSYNC_KAFKA_TLS_CERT_FILE=cert", "MEMBERSYNC_KAFKA_TLS_KEY_FILE=key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := load(t, append(more, "MEMBERSYNC_KAFKA_BROKERS="+fake.ListenAddrs()[0], "MEMBERSYNC_KAFKA_TLS=true", "MEMBERSYNC_KAFKA_TLS_CA_FILE=ca")...)
			p, err := Build(c, Env{Log: &bytes.Buffer{}, ReadFile: files(map[string][]byte{"ca": ca.PEM, "cert": own.Cert, "key": own.Key})})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			_, err = p.Kafka.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{"in"}})
			if err == nil || dlq.IsUnavailable(err) {
				t.Errorf("%v: is a refusal, not an absence", err)
			}
		})
	}
}

func TestDurationsReadWell(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	Logger("json", slog.LevelInfo, &out).Info("waiting", slog.Duration("for", 1512345678*time.Nanosecond))
	if !strings.Contains(out.String(), `"for":"1.512s"`) {
		t.Error(out.String())
	}
}
