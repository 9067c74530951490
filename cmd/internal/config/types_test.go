package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// However a configuration is printed, its secrets are not.
func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, nil, []string{
		"MEMBERSYNC_CRM_BASE_URL=http://crm.test", "MEMBERSYNC_CRM_CORP_ID=C1", "MEMBERSYNC_CRM_APP_ID=A1",
		"MEMBERSYNC_CRM_APP_SECRET=canary", "MEMBERSYNC_CRM_PERMANENT_CODE=canary", "MEMBERSYNC_STATE_KEY=canary-of-at-least-thirty-two-bytes",
		"MEMBERSYNC_REDIS_URL=redis://user:canary@h", "MEMBERSYNC_KAFKA_SASL_MECHANISM=PLAIN",
		"MEMBERSYNC_KAFKA_SASL_USERNAME=u", "MEMBERSYNC_KAFKA_SASL_PASSWORD=canary",
		"MEMBERSYNC_ALLOW_PLAINTEXT=true", "MEMBERSYNC_CRM_PROXY=http://user:canary@proxy.test:3128",
	}, nil)
	var out bytes.Buffer
	inside := struct{ c Config }{c}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
		fmt.Fprintf(&out, verb+verb+verb, c, inside, c.CRM.AppSecret)
	}
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(handler).LogAttrs(t.Context(), slog.LevelInfo, "test", slog.Any("config", c), slog.Any("secret", c.CRM.AppSecret))
	}
	if err := json.NewEncoder(&out).Encode(c.CRM.AppSecret); err != nil {
		t.Error(err)
	}
	if err := yaml.NewEncoder(&out).Encode(c.CRM); err != nil {
		t.Error(err)
	}
	hex := fmt.Sprintf("%x", "canary")
	for _, leak := range []string{"canary", hex, strings.ToUpper(hex), "99 97 110 97 114 121"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q leaks", leak)
		}
	}
	if !strings.Contains(out.String(), hidden) {
		t.Error("nothing was printed")
	}
	if c.Redis.Password.Reveal() != "canary" || c.Redis.Username != "user" || c.Redis.URL.String() != "redis://h:6379/0" {
		t.Errorf("redis: %+v, %q", c.Redis, c.Redis.Password.Reveal())
	}
}

func TestUnsetSecret(t *testing.T) {
	t.Parallel()
	if s := NewSecret(""); s.IsSet() || s.String() != "" || s.Reveal() != "" || !s.Equal(Secret{}) {
		t.Errorf("%+v", s)
	}
	if s := NewSecret("a"); !s.IsSet() || s.Equal(NewSecret("b")) || s.GoString() != hidden {
		t.Errorf("%+v", s)
	}
}

func TestClockTimeNext(t *testing.T) {
	t.Parallel()
	shanghai, _ := zone("Asia/Shanghai")
	newYork, _ := zone("America/New_York")
	for _, tc := range []struct {
		clock     ClockTime
		now, want string
	}{
		{ClockTime{0, 0, shanghai}, "2026-11-22T15:59:59Z", "2026-11-22T16:00:00Z"},
		{ClockTime{0, 0, shanghai}, "2026-11-22T16:00:00Z", "2026-11-23T16:00:00Z"},
		{ClockTime{8, 30, time.UTC}, "2026-12-31T08:30:01Z", "2027-01-01T08:30:00Z"},
		{ClockTime{2, 30, newYork}, "2026-03-08T05:00:00Z", "2026-03-08T06:30:00Z"}, // an hour that is skipped that day
	} {
		now, err := time.Parse(time.RFC3339, tc.now)
		if err != nil {
			t.Fatal(err)
		}
		if got := tc.clock.Next(now).UTC().Format(time.RFC3339); got != tc.want {
			t.Errorf("%v after %s: %s, want %s", tc.clock, tc.now, got, tc.want)
		}
	}
}
