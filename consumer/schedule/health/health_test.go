package health_test

import (
	"testing"
	"time"

	"membersync/consumer/schedule/health"
)

// at returns the time that is so many seconds after the start of the test.
func at(seconds float64) time.Time {
	return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

func record(m *health.Monitor[int], seconds float64, ok bool, members ...int) {
	for _, member := range members {
		m.Record(at(seconds), member, ok)
	}
}

func TestAnOutageNeedsMostMembersAndAtLeastFive(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		failed, succeeded []int
		want              bool
	}{
		"four of four":  {failed: []int{1, 2, 3, 4}},
		"five of five":  {failed: []int{1, 2, 3, 4, 5}, want: true},
		"five of ten":   {failed: []int{1, 2, 3, 4, 5}, succeeded: []int{6, 7, 8, 9, 10}},
		"six of eleven": {failed: []int{1, 2, 3, 4, 5, 6}, succeeded: []int{7, 8, 9, 10, 11}, want: true},
		"none":          {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := health.New[int]()
			record(m, 0, false, tc.failed...)
			record(m, 0, true, tc.succeeded...)
			if got := m.Outage(at(1)); got != tc.want {
				t.Errorf("Outage() = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestAnOutageCountsMembersNotCalls(t *testing.T) {
	t.Parallel()
	m := health.New[int]()
	for range 100 {
		record(m, 0, false, 1)
	}
	if m.Outage(at(0)) {
		t.Error("an outage because of one member that failed a hundred times")
	}
}

func TestCallsExpire(t *testing.T) {
	t.Parallel()
	m := health.New[int]()
	record(m, 0, false, 1, 2, 3, 4, 5)
	record(m, 6, true, 1)
	record(m, 6, false, 1)
	if !m.Outage(at(10)) {
		t.Error("no outage within the window")
	}
	if m.Outage(at(11)) {
		t.Error("an outage from calls older than the window")
	}
}

func TestTheClockRunsOnlyWhileThreeMembersSucceed(t *testing.T) {
	t.Parallel()
	m := health.New[int]()
	record(m, 0, false, 99)
	record(m, 0, true, 1, 2)
	if got := m.Clock(at(5)); got != 0 {
		t.Fatalf("clock = %v with two members that succeed, want 0", got)
	}
	record(m, 5, true, 3, 1, 2)
	if got := m.Clock(at(9)); got != 4*time.Second {
		t.Fatalf("clock = %v, want 4s", got)
	}
	m.SetPaused(at(9), true)
	m.SetPaused(at(12), false)
	if got := m.Clock(at(13)); got != 5*time.Second {
		t.Fatalf("clock = %v after a pause, want 5s", got)
	}
	if got := m.Clock(at(40)); got != 5*time.Second {
		t.Fatalf("clock = %v without calls, want 5s", got)
	}
}

func TestTheClockStopsWhileTooManyMembersFail(t *testing.T) {
	t.Parallel()
	m := health.New[int]()
	for i := range 200 {
		record(m, 0, true, i)
	}
	record(m, 0, false, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009)
	if !m.Healthy(at(0)) {
		t.Fatal("not healthy, though 9 of 209 fail, fewer than 5 %")
	}
	record(m, 0, false, 1010)
	if m.Healthy(at(0)) {
		t.Fatal("healthy, though 10 of 210 fail")
	}
	record(m, 1, true, 1001)
	if !m.Healthy(at(1)) {
		t.Fatal("not healthy again")
	}
}

func TestResetForgetsCallsAndKeepsTheClock(t *testing.T) {
	t.Parallel()
	m := health.New[int]()
	record(m, 0, true, 1, 2, 3)
	record(m, 2, false, 4, 5, 6, 7, 8)
	m.Reset(at(2))
	if m.Outage(at(2)) || m.Healthy(at(2)) {
		t.Error("the reset has not removed all calls")
	}
	if got := m.Clock(at(3)); got != 2*time.Second {
		t.Errorf("clock = %v, want 2s", got)
	}
}
