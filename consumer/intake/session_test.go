package intake

import (
	"testing"
	"time"
)

// A member learns of a rebalance by its next heartbeat. Until the last one has, the partitions of
// an instance that was stopped have no owner, and those of the members that know already wait.
func TestARebalanceIsNoticedWithinASecond(t *testing.T) {
	t.Parallel()
	s := Session{}.withDefaults()
	if s.Heartbeat > time.Second {
		t.Errorf("heartbeats every %v, want one each second", s.Heartbeat)
	}
	if s.Timeout < 3*s.Heartbeat {
		t.Errorf("a member is evicted after %v, fewer than three heartbeats of %v", s.Timeout, s.Heartbeat)
	}
}
