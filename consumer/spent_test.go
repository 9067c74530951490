package consumer_test

import (
	"slices"
	"testing"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// Two events of a member fail in one fold. The older one's budget is used up: it alone dies, and the younger goes on by itself.
func TestTheSpentEventAloneLeavesTheFold(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{Fault: func(s crmapitest.Seen) crmapitest.Fault {
		if s.OpenUserID == member(1) && userOf(t, s)["position"] != "" {
			return crmapitest.Fault{Code: -1, Header: map[string]string{"Retry-After": "1"}} // time enough for the young one to come
		}
		return crmapitest.Fault{}
	}})
	stop := r.stream(2, 3, 4, 5)
	r.start(noBudget)
	r.eventually("the others", func() bool { return r.field(2, "qq") != "" && r.field(3, "qq") != "" && r.field(4, "qq") != "" })
	r.produce(r.event("old", 1, 1, fields{"position": "x"}))
	r.eventually("three of its five tries", func() bool { return len(r.callsOf(1)) >= 3 })
	r.produce(r.event("young", 1, 2, fields{"qq": "1"}))
	r.eventually("the old one's death", func() bool { return len(r.outcome.of("old")) > 0 })
	stop()
	r.settled()
	r.wantOutcomes("old", consumer.DeadLettered)
	r.wantOutcomes("young", consumer.Applied)
	if !slices.ContainsFunc(r.callsOf(1), func(c crmapitest.Seen) bool { return len(userOf(t, c)) == 3 }) {
		t.Error("they were never in one fold")
	}
	r.wantField(1, "qq", `"1"`)
	r.wantField(1, "position", "")
	if dead := r.rejections(); len(dead) != 1 || dead["old"] != "retries_exhausted" {
		t.Errorf("dead letters %v", dead)
	}
}
