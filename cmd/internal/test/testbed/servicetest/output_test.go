package servicetest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAwait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out, done := &Output{}, make(chan struct{})
		go func() {
			defer close(done)
			for i := range 3 {
				time.Sleep(time.Second)
				_, _ = fmt.Fprintf(out, "line %d\n", i)
			}
		}()
		began := time.Now()
		if match := out.Await(t, `line ([1-9])`, done); match[1] != "1" || time.Since(began) != 2*time.Second {
			t.Errorf("match %q after %v", match, time.Since(began))
		}
		if match := out.AwaitFrom(t, len("line 0\nline 1\n"), `line .`, done); match[0] != "line 2" {
			t.Errorf("after the second line: %q", match)
		}
		<-done
		if match := out.Await(t, `line 2`, done); match[0] != "line 2" {
			t.Errorf("after the end: %q", match)
		}
	})
}

func TestEventually(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		Eventually(t, "a second", func() bool { return time.Since(began) >= time.Second })
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}
