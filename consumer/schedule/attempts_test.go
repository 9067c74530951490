package schedule

import (
	"testing"
	"time"

	"membersync/consumer/event"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
)

// memberOf returns a member of the same CRM for each id.
func memberOf(id string) event.Member { return dedupe.NewMember("https://crm.test", "CORP_TEST", id) }

func newSchedule(cfg Config) *Schedule {
	cfg.OnPause, cfg.OnStorm = func(Change) {}, func(StormChange) {}
	return New(cfg)
}

// healthy returns a schedule that knows of enough members whose latest call succeeded.
func healthy(now time.Time) *Schedule {
	s := newSchedule(Config{Concurrency: 1})
	for _, id := range []string{"a", "b", "c", "d"} {
		s.pauses.health.Record(now, memberOf(id), true)
	}
	return s
}

// A failed call counts against the retry budget only if the CRM works for other members and the
// failure can be the event's own.
func TestOnlyFailuresOfTheEventCountAsAttempts(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	transient := event.Decision{
		Kind: event.KindTransient, Final: dlq.ReasonRetriesExhausted, Err: &crmapi.Error{Class: crmapi.ClassTransient},
	}
	unknown := event.Decision{
		Kind: event.KindTransient, Final: dlq.ReasonCRMRejected, UnknownCode: true,
		Err: &crmapi.Error{Class: crmapi.ClassTransient},
	}
	throttled := event.Decision{
		Kind: event.KindPause, Cause: event.CauseThrottled, Err: &crmapi.Error{Class: crmapi.ClassThrottled},
	}
	quota := event.Decision{Kind: event.KindPause, Cause: event.CauseQuota, Err: &crmapi.Error{Class: crmapi.ClassQuota}}
	refused := event.Decision{
		Kind: event.KindRefused, Cause: event.CauseRefused, Final: dlq.ReasonCRMRejected,
		Err: &crmapi.Error{Class: crmapi.ClassRefused},
	}
	for name, tc := range map[string]struct {
		d      event.Decision
		before func(*Schedule)
		want   int
	}{
		"a failure while others succeed":            {transient, func(*Schedule) {}, 5},
		"a refusal of this member alone":            {refused, func(*Schedule) {}, 5},
		"a code in no table":                        {unknown, func(*Schedule) {}, 5},
		"a code in no table, of a CRM that is down": {unknown, func(s *Schedule) { s.pauses.health.Reset(now) }, 0},
		"throttled":                       {throttled, func(*Schedule) {}, 0},
		"the quota is used up":            {quota, func(*Schedule) {}, 0},
		"a probe, while calls are paused": {transient, func(s *Schedule) { s.pauses.health.SetPaused(now, true) }, 0},
		"while a part of the CRM is down": {transient, func(s *Schedule) {
			for _, id := range []string{"1", "2", "3", "4", "5"} {
				s.pauses.health.Record(now, memberOf(id), false)
			}
		}, 0},
		"while no other member is called": {transient, func(s *Schedule) { s.pauses.health.Reset(now) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, ev := healthy(now), &event.Event{}
			tc.before(s)
			u := &event.Update{Contributors: []*event.Event{ev}}
			for range 5 {
				s.pauses.countAttempts(now, u, tc.d)
			}
			if a := ev.Attempts; a.Counted != tc.want || a.Total != 5 {
				t.Errorf("%d of %d calls count, want %d of 5", a.Counted, a.Total, tc.want)
			}
			if spent := len(s.pauses.spent(now, u, 0)) > 0; spent != (tc.want == minAttempts) {
				t.Errorf("with no time of the budget left it is used up: %v", spent)
			}
		})
	}
}
