package web_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/dlq/kafkatest"
)

// pageLimit is how long a page may take while a server does not respond. What reads a range of the
// source topic on request takes longer, and is not among these pages.
const pageLimit = 8 * time.Second

// pages are those that an operator has open, with what each still shows without Kafka and Redis.
func pagesInOutage() map[string]string {
	return map[string]string{
		"/": "Overview", "/dead-letters": "A member field has an invalid value", "/dead-letters?q=state:open": "1 to 2 of 2",
		"/audit": "ticket 7", "/replays": "Range", "/mapping": "Mapping file", "/employees": "Employee id",
	}
}

// look gets all pages and checks that each answers in time.
func (b *browser) look(when string, problems map[string]string) {
	b.t.Helper()
	for path, want := range pagesInOutage() {
		began := time.Now()
		p := b.get(path)
		took := time.Since(began)
		if p.status != http.StatusOK || !strings.Contains(p.text, want) {
			b.t.Errorf("%s: %s: status %d: %s", when, path, p.status, p.text)
		}
		if took > pageLimit {
			b.t.Errorf("%s: %s took %v", when, path, took)
		}
		if problem := problems[path]; problem != "" && !strings.Contains(p.text, problem) {
			b.t.Errorf("%s: %s has no %q: %s", when, path, problem, p.text)
		}
		if problem := problems["all"]; problem != "" && !strings.Contains(p.text, problem) {
			b.t.Errorf("%s: %s has no %q: %s", when, path, problem, p.text)
		}
	}
}

// While Kafka closes connections, or does not respond, the pages show what was read before, and say
// since when it cannot be read. Afterwards they go on by themselves.
func TestKafkaOutage(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(down <-chan struct{}) error{
		"closes connections": func(<-chan struct{}) error { return errDown },
		"does not respond": func(down <-chan struct{}) error {
			<-down
			return errDown
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRigOn(t, kafkatest.StartFake(t)) // a real one is not taken down
			r.writeDeadLetters(sampleDeadLetter(1), sampleDeadLetter(2))
			b := r.operator()
			text := b.eventually("/dead-letters/0:1:0@1795334400000", "0:1:0")
			b.submit(text, "/dead-letters/0:1:0@1795334400000/reveal", "note", "ticket 7")
			b.eventually("/audit", "ticket 7")
			b.eventually("/", `<a href="/dead-letters">2</a>`)
			up := r.takeDown(answer)
			t.Cleanup(up)
			b.eventually("/dead-letters", "cannot be read since")
			b.look("without Kafka", map[string]string{"all": "cannot be read since", "/mapping": "latest records cannot be read now"})
			began := time.Now()
			one := b.get("/dead-letters/0:1:0@1795334400000")
			if took := time.Since(began); one.status != http.StatusOK || took > pageLimit || !strings.Contains(one.text, "facts read before") {
				t.Errorf("one: status %d after %v: %s", one.status, took, one.text)
			}
			began = time.Now()
			p := b.do(http.MethodPost, "/dead-letters/plan", url.Values{"csrf": {csrfOf(text)}, "id": {"0:1:0@1795334400000"}})
			if took := time.Since(began); p.status != http.StatusBadGateway || took > pageLimit {
				t.Errorf("plan: status %d after %v", p.status, took)
			}
			up()
			r.writeDeadLetters(sampleDeadLetter(3))
			// One of the topics may be read again before the other.
			servicetest.Eventually(t, "a page of what both topics hold now", func() bool {
				text := b.must("/dead-letters?q=state:open")
				return strings.Contains(text, "of 3,") && !strings.Contains(text, "cannot be read since")
			})
		})
	}
}

var errDown = errors.New("the broker is down")

// takeDown has the broker answer no request until up is called.
func (r *rig) takeDown(answer func(down <-chan struct{}) error) (up func()) {
	down := make(chan struct{})
	cluster := r.Broker.Fake()
	cluster.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		select {
		case <-down:
			return nil, nil, false
		default:
		}
		cluster.KeepControl()
		return nil, answer(down), true
	})
	return sync.OnceFunc(func() { close(down) })
}

// While Redis does not respond, dead letters are still shown, and the overview says what is wrong.
func TestRedisOutage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.writeDeadLetters(sampleDeadLetter(1), sampleDeadLetter(2))
	b := r.operator()
	text := b.eventually("/dead-letters/0:1:0@1795334400000", "0:1:0")
	b.submit(text, "/dead-letters/0:1:0@1795334400000/reveal", "note", "ticket 7")
	b.eventually("/audit", "ticket 7")
	addr := r.Redis.Addr()
	r.Redis.Close()
	b.eventually("/", "Redis does not respond")
	b.look("without Redis", nil)
	began := time.Now()
	if p := b.get("/dead-letters/0:1:0@1795334400000"); p.status != http.StatusOK || time.Since(began) > pageLimit {
		t.Errorf("one: status %d after %v: %s", p.status, time.Since(began), p.text)
	}
	if err := r.Redis.StartAddr(addr); err != nil {
		t.Fatal(err)
	}
	servicetest.Eventually(t, "Redis is found again", func() bool { return !strings.Contains(b.must("/"), "Redis does not respond") })
}
