package consumer

import (
	"sync/atomic"
	"time"

	"membersync/consumer/event"
	"membersync/dedupe"
	"membersync/dlq"
)

// An activity counts what this instance does, since its start. It is safe for concurrent use.
type activity struct {
	events   atomic.Int64 // finished
	rejected atomic.Int64 // of these, dead-lettered by the mapping when they were first processed
	calls    atomic.Int64
}

func (a *activity) finish(ev *event.Event, outcome event.Outcome) {
	a.events.Add(1)
	if ev.Rejection == nil || outcome != event.DeadLettered || ev.IsRedrive() {
		return
	}
	switch ev.Rejection.Reason.Stage() {
	case dlq.StageDecode, dlq.StageMap:
		a.rejected.Add(1)
	case dlq.StageUpdate:
	}
}

// rateWindow is the time over which rates are measured.
const rateWindow = time.Minute

// A rateMeter turns counts into rates. It is not safe for concurrent use. The zero value is ready.
type rateMeter struct {
	samples []rateSample // the oldest first: the last one that is older than the window, and all since
}

type rateSample struct {
	at                      time.Time
	events, rejected, calls int64
}

// measure returns what the activity did in the window before now.
func (m *rateMeter) measure(now time.Time, a *activity) dedupe.Rates {
	m.samples = append(m.samples, rateSample{now, a.events.Load(), a.rejected.Load(), a.calls.Load()})
	for len(m.samples) > 1 && now.Sub(m.samples[1].at) >= rateWindow {
		m.samples = m.samples[1:]
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	return dedupe.Rates{
		Window: last.at.Sub(first.at),
		Events: int(last.events - first.events), Rejected: int(last.rejected - first.rejected), Calls: int(last.calls - first.calls),
	}
}
