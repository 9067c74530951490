package config

import (
	"strings"
	"testing"
)

// A password or a token without TLS goes to this machine only, unless that is allowed.
func TestPlaintext(t *testing.T) {
	t.Parallel()
	sasl := func(mechanism, brokers string) []string {
		return minimal("MEMBERSYNC_KAFKA_SASL_MECHANISM="+mechanism, "MEMBERSYNC_KAFKA_BROKERS="+brokers,
			"MEMBERSYNC_KAFKA_SASL_USERNAME=u", "MEMBERSYNC_KAFKA_SASL_PASSWORD=canary")
	}
	bearer := func(brokers, url string) []string {
		return minimal("MEMBERSYNC_KAFKA_SASL_MECHANISM=OAUTHBEARER", "MEMBERSYNC_KAFKA_BROKERS="+brokers, "MEMBERSYNC_KAFKA_SASL_TOKEN_URL="+url,
			"MEMBERSYNC_KAFKA_SASL_CLIENT_ID=u", "MEMBERSYNC_KAFKA_SASL_CLIENT_SECRET=canary")
	}
	crm := func(url string, more ...string) []string {
		return append(more, "MEMBERSYNC_CRM_BASE_URL="+url, "MEMBERSYNC_CRM_CORP_ID=C", "MEMBERSYNC_CRM_TOKEN=canary")
	}
	const local = "localhost:9092,127.0.0.1:9092,127.9.9.9:1,[::1]:9092,LOCALHOST:1,[::ffff:127.0.0.1]:1"
	for name, tc := range map[string]struct {
		environ []string
		refused string // the setting that the error names, and what is sent; empty: accepted
	}{
		"PLAIN":                           {sasl("PLAIN", "kafka:9092"), "MEMBERSYNC_KAFKA_SASL_MECHANISM: the SASL password "},
		"PLAIN, one broker elsewhere":     {sasl("PLAIN", "localhost:9092,192.0.2.1:9092"), "MEMBERSYNC_KAFKA_SASL_MECHANISM: the SASL password "},
		"PLAIN, loopback":                 {sasl("PLAIN", local), ""},
		"PLAIN, TLS":                      {append(sasl("PLAIN", "kafka:9092"), "MEMBERSYNC_KAFKA_TLS=true"), ""},
		"SCRAM":                           {sasl("SCRAM-SHA-512", "kafka:9092"), ""},
		"OAUTHBEARER":                     {bearer("kafka:9092", "https://id.test"), "MEMBERSYNC_KAFKA_SASL_MECHANISM: the access token "},
		"OAUTHBEARER, loopback":           {bearer(local, "http://localhost:1"), ""},
		"token endpoint":                  {bearer(local, "http://id.test"), "MEMBERSYNC_KAFKA_SASL_TOKEN_URL: the client secret "},
		"no password":                     {minimal("MEMBERSYNC_REDIS_URL=redis://redis", "MEMBERSYNC_KAFKA_BROKERS=kafka:9092"), ""},
		"Redis":                           {minimal("MEMBERSYNC_REDIS_URL=redis://redis", "MEMBERSYNC_REDIS_PASSWORD=canary"), "MEMBERSYNC_REDIS_URL: the password "},
		"Redis, in the URL":               {minimal("MEMBERSYNC_REDIS_URL=redis://:canary@redis"), "MEMBERSYNC_REDIS_URL: the password "},
		"Redis, loopback":                 {minimal("MEMBERSYNC_REDIS_URL=redis://:canary@127.0.0.1"), ""},
		"Redis, TLS":                      {minimal("MEMBERSYNC_REDIS_URL=rediss://:canary@redis"), ""},
		"sentinel":                        {minimal("MEMBERSYNC_REDIS_URL=redis://a,b", "MEMBERSYNC_REDIS_MODE=sentinel", "MEMBERSYNC_REDIS_SENTINEL_PASSWORD=canary"), "MEMBERSYNC_REDIS_URL: the password "},
		"CRM":                             {crm("http://crm.test"), "MEMBERSYNC_CRM_BASE_URL: the access token "},
		"CRM, a name that begins like it": {crm("http://localhost.crm.test"), "MEMBERSYNC_CRM_BASE_URL: the access token "},
		"CRM, loopback":                   {crm("http://127.0.0.1:8090"), ""},
		"CRM, loopback through a proxy":   {crm("http://127.0.0.1:8090", "MEMBERSYNC_CRM_PROXY=http://proxy:3128"), "MEMBERSYNC_CRM_BASE_URL: the access token "},
		"CRM, https through a proxy":      {crm("https://crm.test", "MEMBERSYNC_CRM_PROXY=http://proxy:3128"), ""},
		"proxy's password":                {crm("https://crm.test", "MEMBERSYNC_CRM_PROXY=http://u:canary@proxy:3128"), "MEMBERSYNC_CRM_PROXY: the proxy's password "},
		"proxy's password, loopback":      {crm("https://crm.test", "MEMBERSYNC_CRM_PROXY=http://u:canary@[::1]:3128"), ""},
		"proxy's password, TLS":           {crm("https://crm.test", "MEMBERSYNC_CRM_PROXY=https://u:canary@proxy:3128"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := Load(nil, tc.environ, files(nil))
			if tc.refused == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("is accepted")
			}
			text := err.Error()
			if !strings.HasPrefix(text, tc.refused) || strings.Contains(text, "\n") || !strings.Contains(text, "set MEMBERSYNC_ALLOW_PLAINTEXT ") || strings.Contains(text, "canary") {
				t.Error(text)
			}
			if _, _, err := Load([]string{"--allow-plaintext"}, tc.environ, files(nil)); err != nil {
				t.Errorf("allowed: %v", err)
			}
		})
	}
}

// Where a secret was read from is known, so that it can be read again.
func TestSecretPath(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, nil, minimal("MEMBERSYNC_REDIS_URL=rediss://r", "MEMBERSYNC_REDIS_PASSWORD_FILE=password"), map[string]string{"password": "canary\n"})
	if c.Redis.Password.Path() != "password" || c.Redis.Password.Reveal() != "canary" || c.CRM.Token.Path() != "" {
		t.Errorf("%q, %q", c.Redis.Password.Path(), c.CRM.Token.Path())
	}
}
