package config

import (
	"strings"
	"testing"
	"time"

	"membersync/crmapi"
)

// values holds, for a setting, what is taken (as it prints) and what is refused.
type values struct {
	setting string
	taken   []string
	refused []string
}

func TestValues(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 250)
	for _, tc := range []values{
		{"kafka.brokers", []string{"a:1", "a:1, b:2", "[::1]:9092"}, []string{"", " ", "a", "a:1,", ":1", "a:0", "a:65536", "a:b", "u:p@a:1", "http://a:1"}},
		{"kafka.topic", []string{"a", "a.b_c-D9", long[:249]}, []string{"", ".", "..", "a b", "a/b", "ä", long}},
		{"kafka.group", []string{"g", "g 1"}, []string{"", " "}},
		{"kafka.tls", []string{"true", "false"}, []string{"", "yes", "1", "TRUE", "t"}},
		{"kafka.sasl_mechanism", []string{"", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}, []string{"plain", "GSSAPI"}},
		{"kafka.tls_server_name", []string{"", "kafka.test", "::1", "192.0.2.1"}, []string{"kafka.test:9093", "https://kafka.test", "a b", "a,b"}},
		{"kafka.sasl_token_url", []string{"", "https://h/token", "http://h:8080/token?x=y"}, []string{"h", "h/token", "ftp://h", "https://", "https://u:p@h/token", "https://h/#x"}},
		{"crm.proxy", []string{"", "http://h:3128", "https://h", "socks5://h:1080/", "http://u:p@h:3128"}, []string{"h:3128", "h", "ftp://h", "http://", "http://h/x", "http://h?x", "http://h#x"}},
		{"kafka.auto_offset_reset", []string{"earliest", "latest"}, []string{"", "none", "Latest"}},
		{"kafka.buffer_records", []string{"1", "2147483647"}, []string{"", "0", "-1", "1.0", "1e3", "2147483648", "0x1"}},
		{"kafka.buffer_bytes", []string{"1", "10B", "512KiB", "2MiB", "1GiB"}, []string{"", "0", "0MiB", "-1", "MiB", "1MB", "1 MiB", "1.5MiB", "9007199254740992GiB", "1mib"}},
		{"dlq.retention", []string{"1s", "720h"}, []string{"", "0", "999ms", "-1h", "30d", "720"}},
		{"redis.mode", []string{"single", "sentinel", "cluster"}, []string{"", "Single"}},
		{"redis.prefix", []string{"ms", "a:b"}, []string{"", "a b", "{a}", "ä", "a\n"}},
		{"redis.url", []string{
			"redis://h", "rediss://h:1/15", "redis://u:p@h", "redis://:p%40@h", "redis://a:1,b:2", "redis://[::1]:1", "redis://h/", "redis://a,b/1?master_name=m",
		}, []string{"", "h", "h:1", "http://h", "redis:h", "redis://", "redis:///0", "redis://h/x", "redis://h/-1", "redis://h?db=1", "redis://h#1", "redis://a,", "redis://h:x", "redis://u:%zz@h", "redis://u:p/q@h"}},
		{"crm.base_url", []string{"http://h", "https://h:8443/", "https://h/prefix"}, []string{"", "h", "ftp://h", "http://", "http://:80", "https://u:p@h", "https://h?x", "https://h?", "https://h#", "https:h", "https://h:x"}},
		{"crm.path", []string{"/", "/a/b"}, []string{"", "a", "//h/a", "/a?b", "/a#b", "/a%2", "http://h/a"}},
		{"crm.api", []string{"user", "object"}, []string{"", "User", "PersonnelObj"}},
		{"crm.object_fields", []string{"", "qq:qq", "qq:q1, gender:sex:M=1/F=2,hireDate:hired:text"}, []string{"qq", "qq:", "title:t", "qq:a,qq:b", "qq:qq:long", "qq:qq,"}},
		{"crm.corp_id", []string{"C"}, []string{"", " "}},
		{"crm.rate", []string{"0", "1/1ms", "100/20s"}, []string{"", "100", "0/20s", "100/0", "100/20", "-1/1s", "/1s", "1/", "1/1s/1s"}},
		{"crm.quota_reset", []string{"00:00 Asia/Shanghai", "23:59 UTC"}, []string{"", "00:00", "24:00 UTC", "0:00 UTC", "00:00 Nowhere", "00:00 Local", "00:00  UTC", "00:00:00 UTC"}},
		{"crm.timeout", []string{"1ms", "10s"}, []string{"", "0", "1us", "10"}},
		{"crm.error_codes", []string{"", "1:transient", "-9:quota", "1:poison:crm_rejected, 2:token, 3:throttled, 4:refused"}, []string{
			"1", "0:transient", "x:transient", "1:", "1:success", "1:poison:oversized", "1:token,1:quota", "1:token,",
		}},
		{"mapping", []string{"canonical", "a/b.yaml"}, []string{"", " "}},
		{"timezone", []string{"", "UTC", "Asia/Shanghai"}, []string{"Local", "CST8", "+08:00", "../etc"}},
		{"shutdown.timeout", []string{"1ms"}, []string{"", "0s"}},
		{"admin.addr", []string{"", ":0", ":8080", "127.0.0.1:8080", "[::]:1"}, []string{"8080", "h", "h:x", "h:65536", "http://h:1"}},
		{"ui.addr", []string{"", ":0", ":8081", "127.0.0.1:8081"}, []string{"8081", "h:x"}},
		{"ui.user_header", []string{"", "X-Forwarded-User"}, []string{"X User", "X:User", "X-\u00fcser"}},
		{"log.level", []string{"debug", "info", "warn", "error"}, []string{"", "INFO", "trace"}},
		{"log.format", []string{"json", "text"}, []string{"", "xml"}},
	} {
		t.Run(tc.setting, func(t *testing.T) {
			t.Parallel()
			s := find(t, tc.setting)
			for _, text := range tc.taken {
				if !s.set(&Config{}, text) {
					t.Errorf("%q is refused", text)
				}
			}
			for _, text := range tc.refused {
				if s.set(&Config{}, text) {
					t.Errorf("%q is taken", text)
				}
			}
		})
	}
}

func find(t *testing.T, name string) setting {
	t.Helper()
	for _, s := range settings() {
		if s.name == name {
			return s
		}
	}
	t.Fatalf("no setting %s", name)
	return setting{}
}

func TestParsedValues(t *testing.T) {
	t.Parallel()
	var c Config
	for name, text := range map[string]string{
		"kafka.buffer_bytes": "2MiB", "kafka.max_record_bytes": "10B", "crm.base_url": "https://h/prefix//", "crm.rate": "7/3s",
		"redis.url": "rediss://:p%40:q@a,[::1]:2/3?master_name=m", "kafka.brokers": "a:1, b:2", "crm.error_codes": "-3:poison:crm_invalid",
	} {
		if !find(t, name).set(&c, text) {
			t.Fatalf("%s: %q is refused", name, text)
		}
	}
	u := c.Redis.URL
	got := []any{c.Kafka.BufferBytes, c.Kafka.MaxRecordBytes, c.CRM.BaseURL, c.CRM.Rate, u.TLS, u.Addrs, u.DB, u.MasterName, u.password.Reveal(), u.String(), c.Kafka.Brokers, c.CRM.ErrorCodes}
	want := []any{
		int64(2 << 20), int64(10), "https://h/prefix",
		Rate{7, 3 * time.Second},
		true,
		[]string{"a:6379", "[::1]:2"},
		3, "m", "p@:q",
		"rediss://a:6379,[::1]:2/3?master_name=m",
		[]string{"a:1", "b:2"},
		crmapi.Table{-3: {Class: crmapi.ClassPoison, Reason: crmapi.ReasonInvalid}},
	}
	if d := diff(want, got); d != "" {
		t.Error(d)
	}
}
