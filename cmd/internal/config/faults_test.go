package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	const url = "should be redis://host:port/db or rediss://…, several addresses comma-separated, sentinels with ?master_name=NAME"
	for name, tc := range map[string]struct {
		args, environ []string
		yaml          string
		want          []string
	}{
		"all at once, by the names that the user used": {
			args: []string{"--kafka-buffer-records=-5"}, environ: minimal("MEMBERSYNC_KAFKA_TLS=yes"),
			yaml: "crm:\n  timeout: 10\n  concurrency: 0\n",
			want: []string{
				`MEMBERSYNC_KAFKA_TLS: "yes" should be true or false`,
				`--kafka-buffer-records: "-5" should be a whole number from 1`,
				`crm.concurrency (membersync.yaml line 3): "0" should be a whole number from 1`,
				`crm.timeout (membersync.yaml line 2): "10" should be a duration such as 500ms, 25s or 720h, at least 1ms`,
			},
		},
		"required": {
			want: []string{
				"MEMBERSYNC_CRM_BASE_URL (or --crm-base-url, crm.base_url): is required: an http or https URL without user, query and fragment",
				"MEMBERSYNC_CRM_CORP_ID (or --crm-corp-id, crm.corp_id): is required: the company's id on the CRM's open platform",
				"MEMBERSYNC_CRM_TOKEN or MEMBERSYNC_CRM_TOKEN_FILE: is required, or else app id, app secret and permanent code " +
					"(MEMBERSYNC_CRM_APP_ID (or --crm-app-id, crm.app_id), MEMBERSYNC_CRM_APP_SECRET or MEMBERSYNC_CRM_APP_SECRET_FILE, " +
					"MEMBERSYNC_CRM_PERMANENT_CODE or MEMBERSYNC_CRM_PERMANENT_CODE_FILE)",
			},
		},
		"versions that expire before the done marks": {
			environ: minimal("MEMBERSYNC_STATE_MEMBER_TTL=335h"),
			want: []string{"MEMBERSYNC_STATE_MEMBER_TTL: is shorter than MEMBERSYNC_STATE_DONE_TTL (or --state-done-ttl, state.done_ttl), " +
				"which is 336h0m0s; set at least that, or 0"},
		},
		"versions that expire at once": {
			environ: minimal("MEMBERSYNC_STATE_MEMBER_TTL=0s"),
			want:    []string{`MEMBERSYNC_STATE_MEMBER_TTL: "0s" should be a duration such as 500ms, 25s or 720h, at least 1s, or 0`},
		},
		"half of what fetches tokens": {
			environ: []string{"MEMBERSYNC_CRM_BASE_URL=https://c", "MEMBERSYNC_CRM_CORP_ID=C", "MEMBERSYNC_CRM_APP_SECRET=s"},
			want: []string{
				"MEMBERSYNC_CRM_APP_ID (or --crm-app-id, crm.app_id): is required to fetch tokens",
				"MEMBERSYNC_CRM_PERMANENT_CODE or MEMBERSYNC_CRM_PERMANENT_CODE_FILE: is required to fetch tokens",
			},
		},
		"a fixed token and one to fetch": {
			environ: minimal("MEMBERSYNC_CRM_APP_ID=a"),
			want:    []string{"MEMBERSYNC_CRM_APP_ID: is set, and so is MEMBERSYNC_CRM_TOKEN: a fixed token is not fetched"},
		},
		"secret as a flag and in YAML, though the environment has it": {
			args: []string{"--crm-token=canary"}, environ: minimal(), yaml: "crm: {token: canary}",
			want: []string{
				"--crm-token: a secret comes from MEMBERSYNC_CRM_TOKEN or the file that MEMBERSYNC_CRM_TOKEN_FILE names, never from a flag or the YAML file",
				"crm.token (membersync.yaml line 1): a secret comes from MEMBERSYNC_CRM_TOKEN or the file that MEMBERSYNC_CRM_TOKEN_FILE names, never from a flag or the YAML file",
			},
		},
		"secret and its file": {
			environ: minimal("MEMBERSYNC_CRM_TOKEN_FILE=f"),
			want:    []string{"MEMBERSYNC_CRM_TOKEN: is set, and so is MEMBERSYNC_CRM_TOKEN_FILE: one of them too many"},
		},
		"secret files": {
			environ: minimal("MEMBERSYNC_REDIS_PASSWORD_FILE=canary", "MEMBERSYNC_STATE_KEY_FILE=empty"),
			args:    []string{"--kafka-sasl-password-file="},
			want: []string{
				"--kafka-sasl-password-file: is empty; should be the path of a file",
				"MEMBERSYNC_REDIS_PASSWORD_FILE: cannot read the file that it names: file does not exist",
				"MEMBERSYNC_STATE_KEY_FILE: the file is empty",
			},
		},
		"unknown keys": {
			environ: minimal(),
			yaml:    "kafka:\n  topics: x\n  tls_ca: y\ncrm.token: a\nconfig: z\nkafak:\n  topic: x\npages: {addr: x}\nmapping: {}\n",
			want: []string{
				"kafka.topics (membersync.yaml line 2): unknown setting; did you mean kafka.topic?",
				"kafka.tls_ca (membersync.yaml line 3): unknown setting; did you mean kafka.tls?",
				"config (membersync.yaml line 5): unknown setting",
				"kafak (membersync.yaml line 6): unknown setting; did you mean kafka?",
				"pages (membersync.yaml line 8): unknown setting",
				"mapping (membersync.yaml line 9): should be one value or a list of values",
				"crm.token (membersync.yaml line 4): a secret comes from MEMBERSYNC_CRM_TOKEN or the file that MEMBERSYNC_CRM_TOKEN_FILE names, never from a flag or the YAML file",
			},
		},
		"YAML of the wrong shape": {
			environ: minimal(), yaml: "kafka:\n  brokers: [[a]]\n  topic: a\n  topic: b\nredis: x\ncrm:\nlog: {level: }\n",
			want: []string{
				"kafka.brokers (membersync.yaml line 2): should be one value or a list of values",
				"kafka.topic (membersync.yaml line 4): is given twice",
				"redis (membersync.yaml line 5): should be a mapping of settings",
				"log.level (membersync.yaml line 7): is empty; should be debug, info, warn or error",
			},
		},
		"YAML that is a list": {environ: minimal(), yaml: "- a", want: []string{"(membersync.yaml line 1): should be a mapping of settings"}},
		"no YAML":             {environ: minimal(), yaml: "a: [", want: []string{"--config: membersync.yaml is not YAML: line 1: did not find expected node content"}},
		"two documents":       {environ: minimal(), yaml: "{}\n---\n{}\n", want: []string{"--config: membersync.yaml should hold one document"}},
		"flags": {
			args: []string{"--kafka-tpoic", "canary", "--kafka-topic", "--crm-token"}, environ: minimal(),
			want: []string{
				"--kafka-tpoic: unknown flag; did you mean --kafka-topic?", "only flags are expected",
			},
		},
		"a single character":   {args: []string{"-x"}, environ: minimal(), want: []string{"-x: unknown flag"}},
		"flag without a value": {args: []string{"--kafka-topic"}, environ: minimal(), want: []string{"--kafka-topic: needs a value"}},
		"bad flag":             {args: []string{"---=canary"}, environ: minimal(), want: []string{"an argument has the form of neither a flag nor a value"}},
		"TLS files without TLS": {
			environ: minimal("MEMBERSYNC_KAFKA_TLS_CA_FILE=a", "MEMBERSYNC_KAFKA_TLS_KEY_FILE=b"),
			want: []string{
				"MEMBERSYNC_KAFKA_TLS_CA_FILE: needs MEMBERSYNC_KAFKA_TLS (or --kafka-tls, kafka.tls) to be true",
				"MEMBERSYNC_KAFKA_TLS_KEY_FILE: needs MEMBERSYNC_KAFKA_TLS (or --kafka-tls, kafka.tls) to be true",
				"MEMBERSYNC_KAFKA_TLS_KEY_FILE: needs MEMBERSYNC_KAFKA_TLS_CERT_FILE (or --kafka-tls-cert-file, kafka.tls_cert_file) too",
			},
		},
		"TLS settings of Redis and the CRM without TLS": {
			environ: append(minimal("MEMBERSYNC_REDIS_TLS_SERVER_NAME=r", "MEMBERSYNC_CRM_TLS_CERT_FILE=c"), "MEMBERSYNC_CRM_BASE_URL=https://c"),
			want: []string{
				"MEMBERSYNC_REDIS_TLS_SERVER_NAME: needs MEMBERSYNC_REDIS_URL (or --redis-url, redis.url) to begin with rediss://",
				"MEMBERSYNC_CRM_TLS_CERT_FILE: needs MEMBERSYNC_CRM_TLS_KEY_FILE (or --crm-tls-key-file, crm.tls_key_file) too",
			},
		},
		"TLS settings of an http CRM": {
			environ: []string{
				"MEMBERSYNC_CRM_BASE_URL=http://localhost:1", "MEMBERSYNC_CRM_CORP_ID=C", "MEMBERSYNC_CRM_TOKEN=s", "MEMBERSYNC_CRM_TLS_CA_FILE=c",
			},
			want: []string{"MEMBERSYNC_CRM_TLS_CA_FILE: needs MEMBERSYNC_CRM_BASE_URL to begin with https://"},
		},
		"sentinel credentials elsewhere": {
			environ: minimal("MEMBERSYNC_REDIS_SENTINEL_USERNAME=u"),
			want: []string{
				"MEMBERSYNC_REDIS_SENTINEL_USERNAME: is for MEMBERSYNC_REDIS_MODE (or --redis-mode, redis.mode) sentinel",
				"MEMBERSYNC_REDIS_SENTINEL_USERNAME: needs MEMBERSYNC_REDIS_SENTINEL_PASSWORD or MEMBERSYNC_REDIS_SENTINEL_PASSWORD_FILE too",
			},
		},
		"a proxy with a password from a flag": {
			args: []string{"--crm-proxy=https://u:canary@proxy.test"}, environ: minimal("MEMBERSYNC_CRM_TLS_SERVER_NAME=crm.test"),
			want: []string{
				"--crm-proxy: a password in it is taken only from MEMBERSYNC_CRM_PROXY",
				"MEMBERSYNC_CRM_TLS_SERVER_NAME: would be expected of the proxy too; use an http:// or socks5:// proxy, or leave it out",
			},
		},
		"OAUTHBEARER in part, with a password": {
			environ: minimal("MEMBERSYNC_KAFKA_TLS=true", "MEMBERSYNC_KAFKA_SASL_MECHANISM=OAUTHBEARER", "MEMBERSYNC_KAFKA_SASL_CLIENT_ID=c",
				"MEMBERSYNC_KAFKA_SASL_TOKEN_URL=https://id.test", "MEMBERSYNC_KAFKA_SASL_PASSWORD=canary"),
			want: []string{
				"MEMBERSYNC_KAFKA_SASL_MECHANISM: needs MEMBERSYNC_KAFKA_SASL_CLIENT_SECRET or MEMBERSYNC_KAFKA_SASL_CLIENT_SECRET_FILE too",
				"MEMBERSYNC_KAFKA_SASL_PASSWORD: is for PLAIN and SCRAM, and MEMBERSYNC_KAFKA_SASL_MECHANISM is OAUTHBEARER",
			},
		},
		"what may hold a password is not quoted": { //nolint:gosec // made up
			environ: minimal("MEMBERSYNC_KAFKA_BROKERS=SASL_SSL://u:canary@k:9092", "MEMBERSYNC_CRM_PATH=https://u:canary@h/p",
				"MEMBERSYNC_KAFKA_SASL_TOKEN_URL=https://u:canary@id", "MEMBERSYNC_CRM_PROXY=u:canary@proxy", "MEMBERSYNC_KAFKA_TOPIC=u:canary@h"),
			yaml: "redis:\n  'rediss://u:canary@h': x\n",
			want: []string{
				"(membersync.yaml line 2): a key is no setting; it is not shown, since it may hold a password",
				"MEMBERSYNC_KAFKA_BROKERS: should be host:port, or several, comma-separated",
				"MEMBERSYNC_KAFKA_TOPIC: should be the name of a topic: at most 249 letters, digits, dots, dashes and underscores",
				"MEMBERSYNC_KAFKA_SASL_TOKEN_URL: should be an http or https URL without user and fragment",
				"MEMBERSYNC_CRM_PATH: should be a path that begins with /",
				"MEMBERSYNC_CRM_PROXY: should be http://host:port, https://host:port or socks5://host:port, with user:password@ if needed",
				"MEMBERSYNC_KAFKA_SASL_TOKEN_URL: needs MEMBERSYNC_KAFKA_SASL_MECHANISM (or --kafka-sasl-mechanism, kafka.sasl_mechanism) too",
			},
		},
		"YAML that quotes": {environ: minimal(), yaml: "a: *canary", want: []string{"--config: membersync.yaml is not YAML"}},
		"YAML that lacks":  {environ: minimal(), yaml: "log: x\nkafka\nredis: y", want: []string{"--config: membersync.yaml is not YAML: line 2: could not find expected ':'"}},
		"SASL in part": {
			environ: minimal("MEMBERSYNC_KAFKA_SASL_MECHANISM=PLAIN", "MEMBERSYNC_KAFKA_SASL_USERNAME=u"),
			want: []string{
				"MEMBERSYNC_KAFKA_SASL_MECHANISM: needs MEMBERSYNC_KAFKA_SASL_PASSWORD or MEMBERSYNC_KAFKA_SASL_PASSWORD_FILE too",
			},
		},
		"SASL without a mechanism": {
			environ: minimal("MEMBERSYNC_KAFKA_SASL_PASSWORD=canary"),
			want:    []string{"MEMBERSYNC_KAFKA_SASL_PASSWORD: needs MEMBERSYNC_KAFKA_SASL_MECHANISM (or --kafka-sasl-mechanism, kafka.sasl_mechanism) too"},
		},
		"one topic for two things": {
			environ: minimal("MEMBERSYNC_DLQ_TOPIC=a", "MEMBERSYNC_KAFKA_TOPIC=a"),
			want:    []string{"MEMBERSYNC_DLQ_TOPIC: is the topic of MEMBERSYNC_KAFKA_TOPIC too; the four differ"},
		},
		"password in a URL from YAML": {
			environ: minimal(), yaml: "redis: {url: 'rediss://u:" + "canary@h'}",
			want: []string{"redis.url (membersync.yaml line 1): a password in it is taken only from MEMBERSYNC_REDIS_URL"},
		},
		"password in a URL from a flag": {
			args: []string{"--redis-url=rediss://:canary@h"}, environ: minimal(),
			want: []string{"--redis-url: a password in it is taken only from MEMBERSYNC_REDIS_URL"},
		},
		"two passwords": {
			environ: minimal("MEMBERSYNC_REDIS_URL=rediss://u:canary@h", "MEMBERSYNC_REDIS_PASSWORD=canary", "MEMBERSYNC_REDIS_USERNAME=u"),
			want: []string{
				"MEMBERSYNC_REDIS_PASSWORD: is set, and MEMBERSYNC_REDIS_URL holds a password: one of them too many",
				"MEMBERSYNC_REDIS_USERNAME: is set, and MEMBERSYNC_REDIS_URL holds a user: one of them too many",
			},
		},
		"user without a password": {
			environ: minimal("MEMBERSYNC_REDIS_USERNAME=u"),
			want:    []string{"MEMBERSYNC_REDIS_USERNAME: needs MEMBERSYNC_REDIS_PASSWORD or MEMBERSYNC_REDIS_PASSWORD_FILE too"},
		},
		"Redis URL": {environ: minimal("MEMBERSYNC_REDIS_URL=http://u:canary@h"), want: []string{"MEMBERSYNC_REDIS_URL: " + url}},
		"several addresses of one server": {
			environ: minimal("MEMBERSYNC_REDIS_URL=redis://a,b"),
			want:    []string{"MEMBERSYNC_REDIS_URL: several addresses need MEMBERSYNC_REDIS_MODE (or --redis-mode, redis.mode) to be sentinel or cluster"},
		},
		"a name for sentinels, and none": {
			environ: minimal("MEMBERSYNC_REDIS_URL=redis://a?master_name=m"),
			want:    []string{"MEMBERSYNC_REDIS_URL: master_name is for MEMBERSYNC_REDIS_MODE (or --redis-mode, redis.mode) sentinel"},
		},
		"database of a cluster": {
			environ: minimal("MEMBERSYNC_REDIS_URL=redis://a/1", "MEMBERSYNC_REDIS_MODE=cluster"),
			want:    []string{"MEMBERSYNC_REDIS_URL: a cluster has no database but 0"},
		},
		"a password is never quoted": {
			environ: minimal("MEMBERSYNC_CRM_BASE_URL=https://u:canary@crm"),
			want:    []string{"MEMBERSYNC_CRM_BASE_URL: should be an http or https URL without user, query and fragment"},
		},
		"missing file": {args: []string{"--config=gone"}, environ: minimal(), want: []string{"--config: cannot read the file that it names: file does not exist"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, args := map[string]string{"empty": "\n", "f": "x"}, tc.args
			if tc.yaml != "" {
				all[yamlPath] = tc.yaml
				args = append([]string{"--config=" + yamlPath}, args...)
			}
			c, _, err := Load(args, tc.environ, files(all))
			if d := cmp.Diff(tc.want, faultsOf(t, err)); d != "" {
				t.Error(d)
			}
			if diff(c, Config{}) != "" {
				t.Error("a configuration was made in spite of faults")
			}
			if strings.Contains(err.Error(), "canary") {
				t.Error("a secret is quoted")
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	environ := minimal(
		"MEMBERSYNC_KAFKA_TOPICS=canary", "MEMBERSYNC_KAFKA_TOPIC_FILE=x", "MEMBERSYNC_ZZZZZZZZZZZZZZ=x", "OTHER_KAFKA_TOPIC=x", "MEMBERSYNC=x",
		// What Kubernetes injects for services named membersync and membersync-ui.
		"MEMBERSYNC_SERVICE_HOST=10.0.0.1", "MEMBERSYNC_SERVICE_PORT=80", "MEMBERSYNC_SERVICE_PORT_HTTP=80", "MEMBERSYNC_PORT=tcp://10.0.0.1:80",
		"MEMBERSYNC_PORT_80_TCP=tcp://10.0.0.1:80", "MEMBERSYNC_PORT_80_TCP_PROTO=tcp", "MEMBERSYNC_PORT_80_TCP_PORT=80", "MEMBERSYNC_PORT_80_TCP_ADDR=10.0.0.1",
		"MEMBERSYNC_UI_SERVICE_HOST=10.0.0.1", "MEMBERSYNC_UI_SERVICE_PORT_WEB_2=80", "MEMBERSYNC_UI_PORT=tcp://10.0.0.1:80", "MEMBERSYNC_UI_PORT_53_UDP_ADDR=10.0.0.1",
	)
	_, report, err := Load(nil, environ, files(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := []Fault{
		{Name: "MEMBERSYNC_KAFKA_TOPICS", Text: "unknown setting; did you mean MEMBERSYNC_KAFKA_TOPIC?"},
		{Name: "MEMBERSYNC_KAFKA_TOPIC_FILE", Text: "unknown setting; did you mean MEMBERSYNC_KAFKA_TLS_CA_FILE?"},
		{Name: "MEMBERSYNC_ZZZZZZZZZZZZZZ", Text: "unknown setting"},
	}
	if d := cmp.Diff(want, report.Warnings); d != "" {
		t.Error(d)
	}
}
