package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func resolved(t *testing.T, args, environ []string, all map[string]string) (map[string]Effective, error) {
	t.Helper()
	list, _, err := Resolve(args, environ, files(all))
	if len(list) != len(settings()) {
		t.Errorf("%d settings of %d", len(list), len(settings()))
	}
	if strings.Contains(fmt.Sprint(list), "canary") {
		t.Errorf("a secret is shown: %v", list)
	}
	byName := map[string]Effective{}
	for _, e := range list {
		byName[e.Name] = e
	}
	return byName, err
}

func TestResolve(t *testing.T) {
	t.Parallel()
	got, err := resolved(t, []string{"--config=" + yamlPath, "--kafka-group=g"}, minimal(
		"MEMBERSYNC_KAFKA_TOPIC=t", "MEMBERSYNC_KAFKA_GROUP=ignored", "MEMBERSYNC_REDIS_URL=rediss://user:canary@h:1/2", "MEMBERSYNC_STATE_KEY_FILE=key",
		"MEMBERSYNC_CRM_PROXY=https://user:canary@proxy:3128",
	), map[string]string{yamlPath: "crm:\n  timeout: 9s\nkafka:\n  brokers: [a:1, b:2]\n  topic: ignored\n", "key": strings.Repeat("canary", 9)})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Effective{
		{"config", yamlPath, FromFlag, "--config"},
		{"kafka.brokers", "a:1,b:2", FromYAML, yamlPath + " line 4"},
		{"kafka.topic", "t", FromEnvironment, "MEMBERSYNC_KAFKA_TOPIC"},
		{"kafka.group", "g", FromFlag, "--kafka-group"},
		{"dlq.topic", "t.dlq", FromDefault, ""},
		{"crm.timeout", "9s", FromYAML, yamlPath + " line 2"},
		{"crm.token", "***", FromEnvironment, "MEMBERSYNC_CRM_TOKEN"},
		{"crm.app_secret", "", FromDefault, ""},
		{"state.key", "***", FromSecretFile, "MEMBERSYNC_STATE_KEY_FILE"},
		{"redis.url", "rediss://h:1/2", FromEnvironment, "MEMBERSYNC_REDIS_URL"},
		{"redis.username", "user", FromEnvironment, "MEMBERSYNC_REDIS_URL"},
		{"redis.password", "***", FromEnvironment, "MEMBERSYNC_REDIS_URL"},
		{"crm.proxy", "https://proxy:3128", FromEnvironment, "MEMBERSYNC_CRM_PROXY"},
	} {
		if d := cmp.Diff(want, got[want.Name]); d != "" {
			t.Error(d)
		}
	}
}

// A wrong configuration is shown, too: that is when one looks at it.
func TestResolveAWrongConfiguration(t *testing.T) {
	t.Parallel()
	got, err := resolved(t, nil, []string{
		"MEMBERSYNC_CRM_BASE_URL=https://u:canary@crm", "MEMBERSYNC_REDIS_URL=http://u:canary@h", "MEMBERSYNC_CRM_TIMEOUT=soon", "MEMBERSYNC_CRM_TOKEN_FILE=canary",
		"MEMBERSYNC_CRM_PROXY=ftp://u:canary@proxy",
	}, nil)
	if _, ok := errors.AsType[*FaultsError](err); !ok {
		t.Fatal(err)
	}
	for _, want := range []Effective{
		{"crm.base_url", "***", FromEnvironment, "MEMBERSYNC_CRM_BASE_URL"},
		{"redis.url", "***", FromEnvironment, "MEMBERSYNC_REDIS_URL"},
		{"crm.timeout", "soon", FromEnvironment, "MEMBERSYNC_CRM_TIMEOUT"},
		{"crm.token", "***", FromSecretFile, "MEMBERSYNC_CRM_TOKEN_FILE"},
		{"crm.corp_id", "", FromDefault, ""},
		{"crm.proxy", "***", FromEnvironment, "MEMBERSYNC_CRM_PROXY"},
	} {
		if d := cmp.Diff(want, got[want.Name]); d != "" {
			t.Error(d)
		}
	}
}

func TestLoadAdminNeedsNoService(t *testing.T) {
	t.Parallel()
	c, _, err := LoadAdmin([]string{"--admin-addr=:9090"}, []string{"MEMBERSYNC_CRM_RATE=nonsense"}, files(nil))
	if err != nil || c.Admin.Addr != ":9090" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, _, err = LoadAdmin([]string{"--admin-addr=nowhere"}, nil, files(nil)); err == nil {
		t.Error("a wrong address passed")
	}
}
