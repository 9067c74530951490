package ops

import (
	"testing"
	"time"
)

// What a page shows after an action is never replaced by what was read before it.
func TestAnOlderStatusIsNotKept(t *testing.T) {
	t.Parallel()
	l := &Live{known: make(chan struct{})}
	began := time.Now()
	paused := Status{At: Time{began.Add(time.Second)}, Paused: &Pause{Actor: "sample"}}
	l.keep(paused, 0)
	l.keep(Status{At: Time{began}}, 0)
	if got, err := l.Latest(t.Context()); err != nil || got.Paused == nil {
		t.Errorf("%+v, %v", got, err)
	}
	l.keep(Status{At: Time{began.Add(2 * time.Second)}}, 0)
	if got, err := l.Latest(t.Context()); err != nil || got.Paused != nil {
		t.Errorf("%+v, %v", got, err)
	}
}
