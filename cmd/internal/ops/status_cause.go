package ops

import (
	"slices"
	"time"
)

// decide finds the causes, the most urgent first.
func (g *statusGathering) decide() {
	st := &g.status
	found := map[StatusCause]CauseState{}
	add := func(c StatusCause, since, next time.Time) {
		if known, ok := found[c]; !ok || !since.IsZero() && since.Before(known.Since.Time) {
			found[c] = CauseState{c, Time{since}, Time{next}}
		}
	}
	if g.redisFails {
		add(StatusRedis, time.Time{}, time.Time{})
	}
	if g.kafkaFails {
		add(StatusKafka, time.Time{}, time.Time{})
	}
	switch {
	case g.otherKey && findTheState(g.beats):
		g.note(ErrKeyOfNone, nil)
	case g.otherKey:
		add(StatusStateKey, time.Time{}, time.Time{})
	case g.isStateLost:
		add(StatusStateLost, time.Time{}, time.Time{})
	}
	if len(g.beats) == 0 && !g.redisFails {
		add(StatusNoInstance, time.Time{}, time.Time{})
	}
	if st.Paused != nil {
		add(StatusPaused, st.Paused.At.Time, st.Paused.Until.Time)
	}
	for _, c := range causesOf(g.beats) {
		if c.Cause != string(CauseOperator) { // Redis has told it, and knows of a resume before the instances do
			add(StatusCause(c.Cause), c.Since, c.Next)
		}
	}
	g.decideFromRates(add)
	for _, c := range StatusCauses() {
		if state, ok := found[c]; ok {
			st.Causes = append(st.Causes, state)
		}
	}
	if len(st.Causes) == 0 {
		st.Causes = []CauseState{{Cause: StatusWorking}}
	}
	st.Cause = st.Causes[0].Cause
	st.Attention = slices.ContainsFunc(st.Causes, func(c CauseState) bool { return c.Cause.NeedsAttention() })
}

const (
	stuckFrom       = time.Minute
	rejectsShare    = 0.1 // of the events of the last minute
	rejectsFrom     = 10
	riskPart        = 5 // a part of the retention
	riskAtMost      = 24 * time.Hour
	secondsPerFloat = float64(time.Second)
)

func (g *statusGathering) decideFromRates(add func(c StatusCause, since, next time.Time)) {
	st := &g.status
	var events, rejected int
	var rate, calls float64
	for _, b := range g.beats {
		calls += perSecond(b.Rates.Calls, b.Rates.Window)
		events, rejected, rate = events+b.Rates.Events, rejected+b.Rates.Rejected, rate+perSecond(b.Rates.Events, b.Rates.Window)
		if b.StuckFor > stuckFrom {
			add(StatusStuck, st.At.Add(-b.StuckFor), time.Time{})
		}
	}
	if limit := g.session.Control.cfg.CRM.Rate; limit.Calls > 0 && len(g.beats) > 0 {
		used := calls * limit.Window.Seconds() / float64(limit.Calls)
		st.RateUsed = &used
	}
	if rejected >= rejectsFrom && float64(rejected) >= rejectsShare*float64(events) {
		add(StatusMappingRejects, time.Time{}, time.Time{})
	}
	if st.Lag == nil {
		return
	}
	behind := time.Duration(st.Lag.Seconds) * time.Second
	if h := st.Lag.Headroom; h != nil {
		left := time.Duration(*h) * time.Second
		if left < min((left+behind)/riskPart, riskAtMost) {
			add(StatusRetentionRisk, time.Time{}, time.Time{})
		}
	}
	if st.Lag.Records == 0 || behind < catchingUpFrom || len(g.beats) == 0 {
		return
	}
	if rate > 0 {
		st.CurrentAt = Time{st.At.Add(time.Duration(float64(st.Lag.Records) / rate * secondsPerFloat))}
	}
	add(StatusCatchingUp, st.At.Add(-behind), time.Time{})
}
