package consumer_test

import (
	"testing"

	"membersync/consumer"
)

// A record of several employees of which the last never reached a lane, since the partition was taken away meanwhile: somebody
// else processes it, whatever became of the others.
func TestARecordThatReachedItsLanesInPartIsNotCommitted(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]bool{"finished before": false, "finished after": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := consumer.NewAccount(7)
			finish, abandon := a.Begin(7, 3)
			finish()
			if late {
				abandon(1)
				finish()
			} else {
				finish()
				abandon(1)
			}
			if got := a.Committable(); got != 7 {
				t.Errorf("committable up to %d, but an event of the record at 7 was dropped", got)
			}
		})
	}
}

func TestARecordIsCommittableWithItsLastEvent(t *testing.T) {
	t.Parallel()
	a := consumer.NewAccount(7)
	finish, _ := a.Begin(7, 2)
	finish()
	if got := a.Committable(); got != 7 {
		t.Errorf("committable up to %d with an event open", got)
	}
	finish()
	if got := a.Committable(); got != 8 {
		t.Errorf("committable up to %d with all events finished", got)
	}
}

// The topic was made anew, and its offsets are used again: what was read of the old one says nothing of them.
func TestARecordOfAnOldAccountFinishesNothing(t *testing.T) {
	t.Parallel()
	a := consumer.NewAccount(3)
	finishOld, _ := a.Begin(3, 1)
	a.Reopen(3)
	finish, _ := a.Begin(3, 1)
	finishOld()
	if got := a.Committable(); got != 3 {
		t.Errorf("committable up to %d, but only the old record at 3 has ended", got)
	}
	finish()
	if got := a.Committable(); got != 4 {
		t.Errorf("committable up to %d, but the new record at 3 has ended", got)
	}
}
