package consumer_test

import (
	"slices"
	"testing"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// Two events of a member fail in one fold. When the retry budget of the older one is used up, that
// event alone is dead-lettered, and the newer one is applied.
func TestOnlyTheEventWithoutRetryBudgetLeavesTheFold(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{Fault: func(s crmapitest.Seen) crmapitest.Fault {
		if s.OpenUserID == member(1) && userOf(t, s)["position"] != "" {
			// Long enough for the newer event to arrive.
			return crmapitest.Fault{Code: -1, Header: map[string]string{"Retry-After": "1"}}
		}
		return crmapitest.Fault{}
	}})
	stop := r.stream(2, 3, 4, 5)
	r.start(noBudget)
	r.eventually("the other members", func() bool {
		return r.crm.field(2, "qq") != "" && r.crm.field(3, "qq") != "" && r.crm.field(4, "qq") != ""
	})
	r.kafka.produce(event("old", 1, 1, fields{"position": "x"}))
	r.eventually("three of its five attempts", func() bool { return len(r.crm.callsOf(1)) >= 3 })
	r.kafka.produce(event("new", 1, 2, fields{"qq": "1"}))
	r.eventually("the old event to be finished", func() bool { return len(r.outcome.of("old")) > 0 })
	stop()
	r.settled()
	r.wantOutcomes("old", consumer.DeadLettered)
	r.wantOutcomes("new", consumer.Applied)
	if !slices.ContainsFunc(r.crm.callsOf(1), func(c crmapitest.Seen) bool { return len(userOf(t, c)) == 3 }) {
		t.Error("the two events were never in one fold")
	}
	r.crm.wantField(1, "qq", `"1"`)
	r.crm.wantField(1, "position", "")
	if reasons := r.dlq.rejections(); len(reasons) != 1 || reasons["old"] != "retries_exhausted" {
		t.Errorf("dead letters %v", reasons)
	}
}
