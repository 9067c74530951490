package consumer_test

import (
	"testing"

	"membersync/crmapi/crmapitest"
)

// The storm guard is about live events: redrives of which all die again are somebody's experiment, and hold nobody up.
func TestRedrivesMakeNoStorm(t *testing.T) {
	t.Parallel()
	const n = 52
	r := newRig(t, 1, crmapitest.Options{Fault: func(s crmapitest.Seen) crmapitest.Fault {
		if s.OpenUserID < member(n) {
			return crmapitest.Fault{Code: 11002}
		}
		return crmapitest.Fault{}
	}})
	for i := range n {
		r.produce(r.change(i, fields{"position": "Engineer"}))
	}
	calm := r.start(r.redriving)
	r.settled()
	calm.stop()
	inst := r.start(r.redriving, stormy)
	for _, item := range r.items() {
		r.redrive(item)
	}
	r.redrivesSettled()
	if letters := len(r.letters()); letters != 2*n || r.paused(inst, "storm") {
		t.Errorf("%d dead letters, want %d, and the storm is %v", letters, 2*n, r.paused(inst, "storm"))
	}
	r.produce(r.change(n, fields{"position": "Engineer"}))
	r.settled()
	r.wantField(n, "position", `"Engineer"`)
}
