package cli

import (
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

// reveals are the commands that show personal data.
func reveals() [][]string {
	return [][]string{
		{"dlq", "show", "0:4:0", "--reveal", "--note=why"},
		{"dlq", "show", "0:4:0", "--reveal", "--note=why", "-o", "json"},
		{"dlq", "export", "--reveal", "--note=why"},
		{"dlq", "export", "0:4:0", "--reveal", "--note=why"},
	}
}

// Nothing is revealed when the broker refuses the record of who looks.
func TestNothingIsRevealedWhenTheAuditRecordIsRefused(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(*testing.T) *office{
		"too large for its topic": func(t *testing.T) *office {
			t.Helper()
			o := newOffice(t)
			o.set("AUDIT_TOPIC", o.broker.Topic(t, 1, map[string]string{"max.message.bytes": "60"}))
			return o
		},
		"not allowed to write": func(t *testing.T) *office {
			t.Helper()
			o := newOfficeOn(t, kafkatest.StartFake(t))
			o.broker.Fake().Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Topic: o.topics.Audit, Count: -1, Err: kerr.TopicAuthorizationFailed,
			})
			return o
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := refuse(t)
			o.bury(t, o.letter(4, dlq.ReasonCRMInvalid, 1, 0))
			for _, args := range reveals() {
				status, stdout, stderr := o.do(t, args...)
				if status != exitFailed || stdout != "" || !strings.Contains(stderr, "nothing is revealed") || strings.Contains(stderr, "needle") {
					t.Errorf("%v: status %d: %s%s", args, status, stdout, stderr)
				}
			}
		})
	}
}

// Nothing is printed before the broker has acknowledged the record; then all is.
func TestNothingIsRevealedBeforeTheAuditRecordIsAcknowledged(t *testing.T) {
	t.Parallel()
	for _, args := range reveals() {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			o := newOfficeOn(t, kafkatest.StartFake(t))
			o.bury(t, o.letter(4, dlq.ReasonCRMInvalid, 1, 0))
			written, acknowledge := make(chan struct{}), make(chan struct{})
			once := sync.OnceFunc(func() { close(written) })
			fake := o.broker.Fake()
			fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				once()
				fake.SleepControl(func() { <-acknowledge })
				return nil, nil, false
			})
			status := make(chan int)
			go func() { status <- o.run(t, args...) }()
			<-written
			if printed := o.out.String() + o.errs.String(); printed != "" {
				t.Errorf("printed before the acknowledgement: %s", printed)
			}
			close(acknowledge)
			if got := <-status; got != exitDone || !strings.Contains(o.out.String(), "needle-position") {
				t.Errorf("status %d: %s%s", got, o.out, o.errs)
			}
			if n := len(o.audit(t)); n != 1 {
				t.Errorf("%d audit records", n)
			}
		})
	}
}
