package ops

import (
	"testing"
	"time"

	"membersync/cmd/internal/config"
	"membersync/dedupe"
)

// The causes follow from what was read, the most urgent first.
func TestStatusDecides(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	paused := func(names ...string) dedupe.Heartbeat {
		b := dedupe.Heartbeat{Host: "sample"}
		for _, name := range names {
			b.Causes = append(b.Causes, dedupe.PauseCause{Cause: name, Since: at.Add(-time.Minute), Next: at.Add(time.Second)})
		}
		return b
	}
	rates := func(events, rejected int) dedupe.Heartbeat {
		return dedupe.Heartbeat{Rates: dedupe.Rates{Window: time.Minute, Events: events, Rejected: rejected, Calls: events}}
	}
	headroom := func(d time.Duration) *int64 {
		s := int64(d.Seconds())
		return &s
	}
	for name, c := range map[string]struct {
		have *statusGathering
		want []StatusCause
	}{
		"an instance without work":   {&statusGathering{beats: []dedupe.Heartbeat{paused()}}, []StatusCause{StatusWorking}},
		"no heartbeat":               {&statusGathering{}, []StatusCause{StatusNoInstance}},
		"Redis is away":              {&statusGathering{redisFails: true}, []StatusCause{StatusRedis}},
		"Kafka is away":              {&statusGathering{kafkaFails: true, beats: []dedupe.Heartbeat{paused()}}, []StatusCause{StatusKafka}},
		"another key":                {&statusGathering{otherKey: true, isStateLost: true, beats: []dedupe.Heartbeat{paused("state_key")}}, []StatusCause{StatusStateKey}},
		"the state is lost":          {&statusGathering{isStateLost: true, beats: []dedupe.Heartbeat{paused()}}, []StatusCause{StatusStateLost}},
		"two causes of an instance":  {&statusGathering{beats: []dedupe.Heartbeat{paused("crm_outage", "dlq")}}, []StatusCause{StatusDLQ, StatusOutage}},
		"a storm":                    {&statusGathering{beats: []dedupe.Heartbeat{paused("storm")}}, []StatusCause{StatusStorm}},
		"the control state":          {&statusGathering{beats: []dedupe.Heartbeat{paused("control")}}, []StatusCause{StatusControl}},
		"an instance without Kafka":  {&statusGathering{beats: []dedupe.Heartbeat{paused("kafka")}}, []StatusCause{StatusKafka}},
		"an instance without Redis":  {&statusGathering{beats: []dedupe.Heartbeat{paused("redis")}}, []StatusCause{StatusRedis}},
		"the operator's pause":       {&statusGathering{beats: []dedupe.Heartbeat{paused()}, status: Status{Paused: &Pause{}}}, []StatusCause{StatusPaused}},
		"a resume":                   {&statusGathering{beats: []dedupe.Heartbeat{paused("operator")}}, []StatusCause{StatusWorking}},
		"the caller's own key":       {&statusGathering{otherKey: true, isStateLost: true, beats: []dedupe.Heartbeat{paused()}}, []StatusCause{StatusWorking}},
		"stuck":                      {&statusGathering{beats: []dedupe.Heartbeat{{StuckFor: 2 * time.Minute}}}, []StatusCause{StatusStuck}},
		"a long batch":               {&statusGathering{beats: []dedupe.Heartbeat{{StuckFor: 30 * time.Second}}}, []StatusCause{StatusWorking}},
		"many rejections":            {&statusGathering{beats: []dedupe.Heartbeat{rates(100, 10)}}, []StatusCause{StatusMappingRejects}},
		"few rejections":             {&statusGathering{beats: []dedupe.Heartbeat{rates(1000, 10)}}, []StatusCause{StatusWorking}},
		"rejections of two of three": {&statusGathering{beats: []dedupe.Heartbeat{rates(2, 2)}}, []StatusCause{StatusWorking}},
		"behind": {
			&statusGathering{beats: []dedupe.Heartbeat{rates(600, 0)}, status: Status{Lag: &Lag{Records: 1200, Seconds: 90}}},
			[]StatusCause{StatusCatchingUp},
		},
		"behind in an outage": {
			&statusGathering{beats: []dedupe.Heartbeat{paused("crm_outage")}, status: Status{Lag: &Lag{Records: 1200, Seconds: 90}}},
			[]StatusCause{StatusOutage, StatusCatchingUp},
		},
		"a short lag": {
			&statusGathering{beats: []dedupe.Heartbeat{rates(60, 0)}, status: Status{Lag: &Lag{Records: 3, Seconds: 5}}}, []StatusCause{StatusWorking},
		},
		"little headroom": {
			&statusGathering{beats: []dedupe.Heartbeat{paused("crm_refused")}, status: Status{Lag: &Lag{Records: 9, Seconds: 6 * 24 * 3600, Headroom: headroom(23 * time.Hour)}}},
			[]StatusCause{StatusRetentionRisk, StatusRefused, StatusCatchingUp},
		},
		"headroom": {
			&statusGathering{beats: []dedupe.Heartbeat{paused()}, status: Status{Lag: &Lag{Records: 9, Seconds: 30, Headroom: headroom(48 * time.Hour)}}},
			[]StatusCause{StatusWorking},
		},
	} {
		g := c.have
		g.status.At = Time{at}
		g.session = &Session{Control: &Control{&base{cfg: config.Config{CRM: config.CRM{Rate: config.Rate{Calls: 100, Window: 20 * time.Second}}}}}}
		g.decide()
		var got []StatusCause
		attention := false
		for _, one := range g.status.Causes {
			got = append(got, one.Cause)
			attention = attention || one.Cause.NeedsAttention()
		}
		if len(got) != len(c.want) || g.status.Cause != c.want[0] || g.status.Attention != attention {
			t.Errorf("%s: %v, want %v", name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	}
	g := &statusGathering{
		status: Status{At: Time{at}, Lag: &Lag{Records: 1200, Seconds: 90}}, beats: []dedupe.Heartbeat{rates(600, 0)},
		session: &Session{Control: &Control{&base{cfg: config.Config{CRM: config.CRM{Rate: config.Rate{Calls: 100, Window: 20 * time.Second}}}}}},
	}
	g.decide()
	if want := at.Add(2 * time.Minute); !g.status.CurrentAt.Equal(want) || *g.status.RateUsed != 2 {
		t.Errorf("current at %v, want %v; used %v, want 2", g.status.CurrentAt, want, *g.status.RateUsed)
	}
}
