package consumer_test

import (
	"strings"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
)

// Events are to be remembered for as long as the topic can deliver them again. Where they are not, somebody is told at the start.
func TestAShortMemoryIsToldAtTheStart(t *testing.T) {
	t.Parallel()
	const warning = "keeps records for longer than done events are remembered"
	for name, tc := range map[string]struct {
		config map[string]string
		want   string // of the retention in the warning; empty: there is none
	}{
		"shorter":          {map[string]string{"retention.ms": "3600001"}, "1h0m0.001s"},
		"just as long":     {map[string]string{"retention.ms": "3600000"}, ""},
		"a topic for ever": {map[string]string{"retention.ms": "-1"}, "without a limit of time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			r.topic = r.broker.Topic(t, 1, tc.config)
			r.ensureTopics()
			inst := r.start(func(_ *consumer.Config, p *consumer.Parts) { p.Overseer = r.remembering(time.Hour) })
			r.eventually("the retention to be known", func() bool {
				return tc.want != "" && strings.Contains(r.logs.String(), warning) ||
					r.metric(inst, "membersync_retention_headroom_seconds", "topic", r.topic) >= 0
			})
			inst.stop()
			if tc.want == "" {
				if strings.Contains(r.logs.String(), warning) {
					t.Error("it is warned of a memory that is long enough")
				}
				return
			}
			attrs := r.entry("the topic " + warning)
			if attrs["retention"] != tc.want || attrs["remembered"] != "1h0m0s" || attrs["topic"] != r.topic {
				t.Errorf("%v, want a retention of %s", attrs, tc.want)
			}
		})
	}
}

func (r *rig) remembering(ttl time.Duration) *dedupe.Store {
	r.t.Helper()
	store, err := dedupe.New(r.redis, dedupe.Options{Prefix: r.prefix, Scope: r.crmURL, DoneTTL: ttl, Lease: r.lease})
	if err != nil {
		r.t.Fatal(err)
	}
	return store
}
