package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"

	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/test/goldentest"
	"membersync/crmapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const yamlPath = "membersync.yaml"

// files reads from a map.
func files(all map[string]string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		text, ok := all[path]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return []byte(text), nil
	}
}

// minimal is the environment without which nothing runs.
func minimal(more ...string) []string {
	return append(more, "MEMBERSYNC_CRM_BASE_URL=https://crm.test", "MEMBERSYNC_CRM_CORP_ID=C1", "MEMBERSYNC_CRM_TOKEN=T1")
}

func mustLoad(t *testing.T, args, environ []string, all map[string]string) Config {
	t.Helper()
	c, report, err := Load(args, environ, files(all))
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	if len(report.Warnings) > 0 {
		t.Fatalf("warnings: %v", report.Warnings)
	}
	return c
}

func diff(x, y any) string {
	sameZone := cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() })
	return cmp.Diff(x, y, sameZone, cmp.AllowUnexported(RedisURL{}))
}

func faultsOf(t *testing.T, err error) []string {
	t.Helper()
	all, ok := errors.AsType[*FaultsError](err)
	if !ok {
		t.Fatalf("error is %T (%v), want *FaultsError", err, err)
	}
	var texts []string
	for _, f := range all.Faults {
		texts = append(texts, f.String())
	}
	return texts
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	published, err := crmapi.ParseObject("")
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Kafka: Kafka{
			Brokers: []string{"localhost:9092"}, Topic: "hris.employee.changed", Group: "membersync",
			AutoOffsetReset: "earliest", BufferRecords: 20000, BufferBytes: 32 << 20, MaxRecordBytes: 1 << 20, CreateTopics: true,
		},
		DLQ: DLQ{
			Topic: "hris.employee.changed.dlq", RedriveTopic: "hris.employee.changed.redrive", Retention: 720 * time.Hour, StormShare: 0.5,
		},
		Audit: Audit{Topic: "hris.employee.changed.audit"},
		Redis: Redis{URL: RedisURL{Addrs: []string{"localhost:6379"}}, Mode: "single", Prefix: "ms"},
		State: State{DoneTTL: 336 * time.Hour, DigestTTL: 24 * time.Hour},
		Order: Order{MaxAhead: 24 * time.Hour},
		CRM: CRM{
			BaseURL: "https://crm.test", Path: "/cgi/crm/v2/data/update", API: "user", Object: published, CorpID: "C1", Token: NewSecret("T1"),
			Rate: Rate{100, 20 * time.Second}, QuotaReset: ClockTime{0, 0, shanghai}, Concurrency: 64, Timeout: 10 * time.Second, RetryBudget: 5 * time.Minute,
		},
		Admin: Admin{Addr: "127.0.0.1:8080"}, UI: UI{Addr: "127.0.0.1:8081"}, Log: Log{Format: "json"},
		Mapping: "canonical", ShutdownTimeout: 25 * time.Second,
	}
	if d := diff(want, mustLoad(t, nil, minimal(), nil)); d != "" {
		t.Error(d)
	}
}

// examples holds a value for each setting that is not its default.
func examples() map[string]string {
	return map[string]string{ //nolint:gosec // made up
		"kafka.brokers": "k1:9092,k2:9093", "kafka.topic": "changes", "kafka.group": "g2", "kafka.tls": "true",
		"kafka.tls_ca_file": "ca.pem", "kafka.tls_cert_file": "cert.pem", "kafka.tls_key_file": "key.pem",
		"kafka.tls_server_name": "kafka.test", "kafka.sasl_mechanism": "SCRAM-SHA-256",
		"kafka.sasl_token_url": "https://id.test/token", "kafka.sasl_client_id": "c1", "kafka.sasl_client_secret": "canary-client",
		"redis.tls_ca_file": "ca.pem", "redis.tls_cert_file": "cert.pem", "redis.tls_key_file": "key.pem", "redis.tls_server_name": "redis.test",
		"redis.sentinel_username": "u3", "redis.sentinel_password": "canary-sentinel",
		"crm.tls_ca_file": "ca.pem", "crm.tls_cert_file": "cert.pem", "crm.tls_key_file": "key.pem", "crm.tls_server_name": "crm.test",
		"crm.proxy": "http://proxy.test:3128", "allow.plaintext": "true",
		"kafka.sasl_username": "u1", "kafka.sasl_password": "canary-sasl",
		"kafka.auto_offset_reset": "latest", "kafka.buffer_records": "7", "kafka.buffer_bytes": "3KiB",
		"kafka.max_record_bytes": "1234", "kafka.create_topics": "false",
		"dlq.topic": "dead", "dlq.redrive_topic": "again", "dlq.storm_share": "0.25", "dlq.retention": "48h", "audit.topic": "who",
		"redis.url": "rediss://r1:1,r2:2/0?master_name=m1", "redis.mode": "sentinel", "redis.username": "u2",
		"redis.password": "canary-redis", "redis.prefix": "other",
		"state.done_ttl": "1h", "state.member_ttl": "1000h", "state.key": "canary-state-key-of-thirty-two-bytes", "state.digest_ttl": "2h", "order.max_ahead": "3h",
		"crm.base_url": "https://open.test", "crm.path": "/cgi/user/update", "crm.corp_id": "C2",
		"crm.api": "object", "crm.object_fields": "position:position,hireDate:hire_date:text",
		"crm.app_id": "A1", "crm.app_secret": "canary-secret", "crm.permanent_code": "canary-code", "crm.token": "canary-token",
		"crm.rate": "5/1s", "crm.quota_reset": "08:30 UTC", "crm.concurrency": "3", "crm.timeout": "4s", "crm.retry_budget": "2m",
		"crm.error_codes": "201112011:poison:crm_invalid,-7:transient",
		"mapping":         "canonical-time", "timezone": "Asia/Shanghai", "shutdown.timeout": "9s",
		"ui.addr": ":9998", "ui.token": "canary-operator", "ui.viewer_token": "canary-viewer", "ui.user_header": "X-Forwarded-User",
		"admin.addr": ":9999", "log.level": "debug", "log.format": "text",
	}
}

// Each example changes the configuration, and by each way to the same.
func TestEachSettingByEachWay(t *testing.T) {
	t.Parallel()
	all := examples()
	for _, s := range settings() {
		if s.name == "config" {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			text, ok := all[s.name]
			if !ok {
				t.Fatal("no example")
			}
			plain := changed(t, Config{}, s, strings.Replace(s.def, "<topic>", "changes", 1))
			want := changed(t, Config{}, s, text)
			if !s.required && diff(plain, want) == "" {
				t.Error("the example changes nothing")
			}
			for way, args := range waysToGive(s, text) {
				got, faults := applied(s, text, args)
				if len(faults) > 0 {
					t.Errorf("%s: %v", way, faults)
				}
				if d := diff(want, got); d != "" {
					t.Errorf("%s: %s", way, d)
				}
			}
		})
	}
	if len(all) != len(settings())-1 {
		t.Errorf("%d examples for %d settings", len(all), len(settings())-1)
	}
}

// waysToGive names the ways a setting can be given, as flag and variable.
func waysToGive(s setting, text string) map[string][2]string {
	if s.secret {
		return map[string][2]string{
			"environment":            {"", s.env() + "=" + text},
			"file, environment":      {"", s.env() + "_FILE=secret"},
			"file, flag":             {s.flag() + "-file=secret"},
			"file, YAML":             {"--config=file.yaml"},
			"bare file, environment": {"", s.env() + "_FILE=bare"},
		}
	}
	return map[string][2]string{
		"environment": {"", s.env() + "=" + text},
		"flag":        {s.flag() + "=" + text},
		"YAML":        {"--config=" + yamlPath},
	}
}

// applied is what a setting becomes when it alone is given.
func applied(s setting, text string, way [2]string) (Config, []Fault) {
	section, key, found := strings.Cut(s.name, ".")
	section += ":\n  "
	if !found {
		section, key = "", s.name
	}
	l := &loader{all: settings(), readFile: files(map[string]string{
		"secret": text + "\r\n", "bare": text,
		yamlPath: section + key + ": '" + text + "'\n", "file.yaml": section + key + "_file: secret\n",
	})}
	for from := range l.given {
		l.given[from] = map[string]given{}
	}
	if way[0] != "" {
		l.readFlags(way[:1])
	}
	l.readEnvironment(way[1:])
	if file, ok := l.find("config"); ok {
		l.readYAML(file)
	}
	var c Config
	l.apply(&c, s)
	return c, append(l.faults, l.warnings...)
}

func changed(t *testing.T, c Config, s setting, text string) Config {
	t.Helper()
	if text != "" && !s.set(&c, text) {
		t.Fatalf("%q is refused", text)
	}
	return c
}

func TestSpellingsAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, s := range settings() {
		spellings := []string{s.name, s.flag(), s.env()}
		if s.secret {
			spellings = append(spellings, s.fileName(), s.flag()+"-file", s.env()+"_FILE")
		}
		for _, spelling := range spellings {
			if other, ok := seen[spelling]; ok {
				t.Errorf("%s is spelt by %s and %s", spelling, other, s.name)
			}
			seen[spelling] = s.name
		}
		if s.help == "" || s.want == "" {
			t.Errorf("%s: no help or no rule", s.name)
		}
	}
}

// The first word of a name is its section, for all: who knows one spelling knows the others.
func TestSpellingsFollowFromEachOther(t *testing.T) {
	t.Parallel()
	for _, s := range settings() {
		section, key, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(s.env(), envPrefix)), "_")
		if want := strings.TrimSuffix(section+"."+key, "."); s.name != want {
			t.Errorf("%s is %s in YAML, want %s", s.env(), s.name, want)
		}
		if want := "--" + strings.ReplaceAll(strings.ReplaceAll(s.name, ".", "-"), "_", "-"); s.flag() != want {
			t.Errorf("%s is the flag %s, want %s", s.env(), s.flag(), want)
		}
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	yaml := map[string]string{yamlPath: "unread: x\n", "a.yaml": "kafka: {topic: fromyaml, group: fromyaml, brokers: [y1:1, y2:2]}\nmapping: canonical-time\n"}
	environ := minimal("MEMBERSYNC_CONFIG="+yamlPath, "MEMBERSYNC_KAFKA_TOPIC=fromenv", "MEMBERSYNC_KAFKA_GROUP=fromenv")
	c := mustLoad(t, []string{"--config", "a.yaml", "--kafka-topic", "fromflag", "--kafka-create-topics=false"}, environ, yaml)
	got := []any{c.Kafka.Topic, c.Kafka.Group, c.Kafka.Brokers, c.Mapping, c.DLQ.Topic, c.Kafka.CreateTopics}
	want := []any{"fromflag", "fromenv", []string{"y1:1", "y2:2"}, "canonical-time", "fromflag.dlq", false}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Set but empty counts as given: it beats the weaker source.
func TestEmptyCountsAsGiven(t *testing.T) {
	t.Parallel()
	yaml := map[string]string{yamlPath: "timezone: UTC\nadmin: {addr: ':1'}\ncrm: {error_codes: ['5:transient']}\n"}
	c := mustLoad(t, []string{"--crm-error-codes="}, minimal("MEMBERSYNC_CONFIG="+yamlPath, "MEMBERSYNC_TIMEZONE=", "MEMBERSYNC_ADMIN_ADDR="), yaml)
	if c.Timezone != nil || c.Admin.Addr != "" || c.CRM.ErrorCodes != nil {
		t.Errorf("zone %v, addr %q, codes %v", c.Timezone, c.Admin.Addr, c.CRM.ErrorCodes)
	}
	mustLoad(t, []string{"--config="}, minimal("MEMBERSYNC_CONFIG=gone.yaml"), nil)
	_, _, err := Load(nil, minimal("MEMBERSYNC_KAFKA_TOPIC=", "MEMBERSYNC_KAFKA_BROKERS=", "MEMBERSYNC_KAFKA_SASL_PASSWORD="), files(nil))
	for _, want := range []string{"MEMBERSYNC_KAFKA_TOPIC: is empty", "MEMBERSYNC_KAFKA_BROKERS: is empty", "MEMBERSYNC_KAFKA_SASL_PASSWORD: is empty"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

func TestFirstOfVariableSetTwiceCounts(t *testing.T) {
	t.Parallel()
	if c := mustLoad(t, nil, minimal("MEMBERSYNC_REDIS_PREFIX=a", "MEMBERSYNC_REDIS_PREFIX=b"), nil); c.Redis.Prefix != "a" {
		t.Errorf("prefix %q", c.Redis.Prefix)
	}
}

func TestLoadMappingNeedsNoService(t *testing.T) {
	t.Parallel()
	c, _, err := LoadMapping([]string{"--timezone=UTC"}, []string{"MEMBERSYNC_CRM_RATE=nonsense"}, files(nil))
	if err != nil || c.Timezone != time.UTC || c.Mapping != "canonical" || c.Kafka.MaxRecordBytes != 1<<20 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, _, err = LoadMapping([]string{"--timezone=Nowhere"}, nil, files(nil)); err == nil {
		t.Error("a wrong zone passed")
	}
}

func TestDefine(t *testing.T) {
	t.Parallel()
	var args []string
	set := flags.NewSet(pflag.NewFlagSet("", pflag.ContinueOnError))
	Define(set, &args)
	if err := set.Parse([]string{"--kafka-tls", "--redis-prefix", "p=q", "--crm-token-file=f"}); err != nil {
		t.Fatal(err)
	}
	want := []string{"--kafka-tls=true", "--redis-prefix=p=q", "--crm-token-file=f"}
	if d := cmp.Diff(want, args); d != "" {
		t.Error(d)
	}
}

// Completion offers the words of the settings that take nothing else.
func TestWords(t *testing.T) {
	t.Parallel()
	got := map[string][]string{}
	for _, s := range settings() {
		if words := s.words(); words != nil && !s.boolean {
			got[s.name] = words
		}
	}
	want := map[string][]string{
		"kafka.sasl_mechanism":    {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"},
		"kafka.auto_offset_reset": {"earliest", "latest"},
		"redis.mode":              {"single", "sentinel", "cluster"},
		"crm.api":                 {"user", "object"},
		"log.level":               {"debug", "info", "warn", "error"},
		"log.format":              {"json", "text"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, define := range map[string]func(*flags.Set, *[]string){"flags.txt": Define, "mapping_flags.txt": DefineMapping} {
		set := flags.NewSet(pflag.NewFlagSet("", pflag.ContinueOnError))
		define(set, new([]string))
		goldentest.Compare(t, filepath.Join("testdata", name), set.FlagUsagesWrapped(100))
	}
	goldentest.Compare(t, filepath.Join("testdata", "settings.md"), Markdown())
}

func FuzzYAML(f *testing.F) {
	f.Add("kafka: {topic: a}\n")
	f.Add("a: &a [*a]\n")
	f.Add("kafka: &k\n  brokers: *k\n")
	f.Add("---\n---\n")
	f.Add("? [a]\n: b\n<<: {x: 1}\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, _, err := Load([]string{"--config", yamlPath}, minimal(), files(map[string]string{yamlPath: text}))
		if err == nil && c.Kafka.Topic == "" {
			t.Error("no fault and no topic")
		}
	})
}
