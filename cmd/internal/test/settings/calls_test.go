package settings_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"membersync/consumer"
	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

func callTests() map[string]func(*settingTest) {
	return map[string]func(*settingTest){
		"CRM_RATE": crmRate, "CRM_CONCURRENCY": crmConcurrency, "CRM_TIMEOUT": crmTimeout,
		"CRM_RETRY_BUDGET": crmRetryBudget, "CRM_ERROR_CODES": crmErrorCodes, "CRM_QUOTA_RESET": crmQuotaReset,
	}
}

// No window has more calls than the limit. Without a limit all calls come at once.
func crmRate(s *settingTest) {
	const n, limit, window = 5, 2, 500 * time.Millisecond
	limited, free := s.rig(), s.rig()
	free.CRM.Block(crmapitest.BeforeEffect)
	limited.produce(limited.titles(n)...)
	free.produce(free.titles(n)...)
	p := limited.start("CRM_RATE", fmt.Sprintf("%d/%s", limit, window))
	free.start("CRM_RATE", "0")
	p.applies("ev-1", "ev-2", "ev-3", "ev-4", "ev-5")
	calls := limited.CRM.Calls()
	for i := range len(calls) - limit {
		if gap := calls[i+limit].Arrived.Sub(calls[i].Arrived); gap < window {
			s.t.Errorf("calls %d to %d came within %v", i, i+limit, gap)
		}
	}
	s.eventually("all to be called at once", func() bool { return free.CRM.Blocked() == n })
	free.CRM.Release()
}

// Exactly the given number of calls are open at once.
func crmConcurrency(s *settingTest) {
	const n = 6
	for concurrency, want := range map[string]int{"2": 2, "64": n} {
		r := s.rig()
		r.CRM.Block(crmapitest.BeforeEffect)
		r.produce(r.titles(n)...)
		p := r.start("CRM_CONCURRENCY", concurrency)
		s.eventually("calls to be held", func() bool { return r.CRM.Blocked() == want })
		r.CRM.Release()
		p.applies("ev-1", "ev-2", "ev-3", "ev-4", "ev-5", "ev-6")
		if got := mostOpen(r.CRM.Calls()); got != want {
			s.t.Errorf("concurrency %s: %d calls were open at once, want %d", concurrency, got, want)
		}
		p.Stop()
	}
}

// mostOpen returns the largest number of calls that were open at once.
func mostOpen(calls []crmapitest.Seen) int {
	most := 0
	for _, c := range calls {
		open := 0
		for _, other := range calls {
			if !other.Arrived.After(c.Arrived) && other.Finished.After(c.Arrived) {
				open++
			}
		}
		most = max(most, open)
	}
	return most
}

// The client waits for a slow response, or gives up.
func crmTimeout(s *settingTest) {
	slow := crmapitest.Options{Latency: time.Second}
	short, long := s.rig(slow), s.rig(slow)
	short.produce(short.title("ev", 1))
	long.produce(long.title("ev", 1))
	p, q := short.start("CRM_TIMEOUT", "100ms"), long.start("CRM_TIMEOUT", "20s")
	unacknowledged := func(err error) bool { // on a busy machine a call may not even be sent in this time
		e, ok := errors.AsType[*crmapi.Error](err)
		return ok && e.Class == crmapi.ClassUnacknowledged
	}
	s.eventually("a call without a response", func() bool { return slices.ContainsFunc(p.seen.answers(), unacknowledged) })
	q.applies("ev")
	if answers := q.seen.answers(); len(answers) != 1 {
		s.t.Errorf("%d calls: %v", len(answers), answers)
	}
}

// An event that fails while others succeed is dead-lettered when its budget is used up, and not
// before.
func crmRetryBudget(s *settingTest) {
	const attempts = 5 // of the smallest budget
	short, long := s.rig(), s.rig()
	p, q := short.start("CRM_RETRY_BUDGET", "1s"), long.start("CRM_RETRY_BUDGET", "5m")
	round := 0
	others := func() { // the budget's clock runs while the latest calls of three others succeeded
		round++
		for _, r := range []*rig{short, long} {
			for employee := 2; employee <= 4; employee++ {
				r.produce(r.title(fmt.Sprintf("other-%d-%d", round, employee), employee))
			}
		}
		for _, each := range []*program{p, q} {
			for employee := 2; employee <= 4; employee++ {
				each.applies(fmt.Sprintf("other-%d-%d", round, employee))
			}
		}
	}
	others()
	for _, r := range []*rig{short, long} {
		r.CRM.Push(crmapitest.Fault{Member: member(1), Times: -1, Code: -1})
		r.produce(r.title("failing", 1))
	}
	last := time.Now()
	s.eventually("the dead letter and as many attempts", func() bool {
		if time.Since(last) > time.Second {
			others()
			last = time.Now()
		}
		return len(p.seen.outcomes("failing")) > 0 && failures(q) > attempts
	})
	p.ends("failing", consumer.DeadLettered)
	short.wantReason(dlq.ReasonRetriesExhausted)
	if got := q.seen.outcomes("failing"); len(got) != 0 {
		s.t.Errorf("with a long budget: %v", got)
	}
}

func failures(p *program) int {
	n := 0
	for _, err := range p.seen.answers() {
		if err != nil {
			n++
		}
	}
	return n
}

// An unknown code is retried. A row in the table gives it a meaning.
func crmErrorCodes(s *settingTest) {
	known, unknown := s.rig(), s.rig()
	for _, r := range []*rig{known, unknown} {
		r.CRM.Push(crmapitest.Fault{Times: -1, Code: crmapitest.CodeDuplicate})
		r.produce(r.title("ev", 1))
	}
	row := fmt.Sprintf("%d:poison:crm_invalid", crmapitest.CodeDuplicate)
	p, q := known.start("CRM_ERROR_CODES", row), unknown.start()
	p.ends("ev", consumer.DeadLettered)
	known.wantReason(dlq.ReasonCRMInvalid)
	wantCalls(known, 1)
	s.eventually("a second call", func() bool { return len(unknown.CRM.Calls()) > 1 })
	if got := q.seen.outcomes("ev"); len(got) != 0 && len(unknown.CRM.Calls()) < 5 {
		s.t.Errorf("without a row: %v", got)
	}
}

// After the daily quota is used up, the next call comes at the reset. A reset has no seconds, so
// this takes up to a minute, and another one if the machine is too busy for a call before the
// reset.
func crmQuotaReset(s *settingTest) {
	for !s.quotaStartsAgain() {
		s.t.Log("the first call came too late to be before the reset")
	}
}

func (s *settingTest) quotaStartsAgain() (before bool) {
	soon, late := s.rig(), s.rig()
	for _, r := range []*rig{soon, late} {
		r.CRM.Push(crmapitest.Fault{Code: 30002})
		r.produce(r.title("ev", 1))
	}
	const margin = 8 * time.Second // so that the first call comes before the reset
	reset := time.Now().UTC().Add(margin).Truncate(time.Minute).Add(time.Minute)
	p := soon.start("CRM_QUOTA_RESET", reset.Format("15:04")+" UTC")
	q := late.start("CRM_QUOTA_RESET", reset.Add(12*time.Hour).Format("15:04")+" UTC")
	for _, each := range []*program{p, q} {
		each.says(`"cause":"crm_quota"`)
	}
	if !time.Now().Before(reset) {
		p.Stop()
		q.Stop()
		return false
	}
	p.applies("ev")
	if calls := soon.CRM.Calls(); len(calls) != 2 || calls[1].Arrived.Before(reset) {
		s.t.Errorf("calls %+v, want two, the second not before %v", calls, reset)
	}
	wantCalls(late, 1)
	if strings.Contains(q.Logs.String(), "calls resumed") {
		s.t.Error("calling was resumed before the reset")
	}
	return true
}
