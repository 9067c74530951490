package cli

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
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
	for name, refuse := range map[string]func(*testing.T) *opsRig{
		"too large for its topic": func(t *testing.T) *opsRig {
			t.Helper()
			o := newOpsRig(t)
			o.set("AUDIT_TOPIC", o.broker.Topic(t, 1, map[string]string{"max.message.bytes": "60"}))
			return o
		},
		"not allowed to write": func(t *testing.T) *opsRig {
			t.Helper()
			o := newOpsRigOn(t, kafkatest.StartFake(t))
			o.broker.Fake().Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Topic: o.topics.Audit, Count: -1, Err: kerr.TopicAuthorizationFailed,
			})
			return o
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := refuse(t)
			o.topics.write(t, o.topics.deadLetter(4, dlq.ReasonCRMInvalid, 1, 0))
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
			o := newOpsRigOn(t, kafkatest.StartFake(t))
			o.topics.write(t, o.topics.deadLetter(4, dlq.ReasonCRMInvalid, 1, 0))
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
			if n := len(o.topics.audit(t)); n != 1 {
				t.Errorf("%d audit records", n)
			}
		})
	}
}

// No command shows a value unless it is asked to reveal: not those of fields, headers, keys, or of
// ids that are not scalars. Neither does the log of the service, the audit topic, or a header.
func TestNoValueIsShownUnrevealed(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	o.set("LOG_LEVEL", "debug")
	const values = `"after":{"gender":"needle-gender","position":"needle-position","mobile":"needle-mobile","x":{"name":"needle"}},"before":{"qq":"needle-qq"}`
	for _, ids := range []string{
		`"eventId":"a","employeeId":"E1","openUserId":"F1","sequence":1`,
		`"eventId":{"needle-name":"needle"},"employeeId":"E1","openUserId":"F1","sequence":2`,
		`"eventId":"c","employeeId":{"id":"E1","fullName":"needle"},"openUserId":"F1","sequence":3`,
		`"eventId":"d","employeeId":"E1","openUserId":["needle"],"sequence":4`,
		`"eventId":"e","employeeId":"E1","openUserId":"F1","sequence":{"n":"needle"}`,
		`"eventId":"f","employeeId":true,"openUserId":"F1","sequence":"7"`,
		`"needle`,
	} {
		o.broker.Produce(t, o.topics.Source, kafka.Message{
			Key: []byte("needle-key"), Value: []byte(`{` + ids + `,` + values + `}`), Time: time.UnixMilli(1_795_334_400_000),
			Headers: []kafka.Header{{Key: "trace", Value: []byte("needle-header")}, {Key: "dlq.error", Value: []byte("needle-error")}},
		})
	}
	end, status := o.background(t)
	o.errs.await(t, "joined the group")
	o.drained(t)
	end(nil)
	<-status
	printed := o.errs.String()
	for _, args := range [][]string{
		{"dlq", "list"},
		{"dlq", "export"},
		{"explain", "E1"},
		{"state", "show", "E1"},
		{"replay", "--from=earliest", "--dry-run"},
		{"dlq", "redrive", "--all", "--dry-run"},
		{"dlq", "discard", "0:6", "--note=n", "--yes"},
		{"dlq", "show", "0:0:0"},
		{"dlq", "show", "0:1:0"},
		{"dlq", "show", "0:2:0"},
		{"dlq", "show", "0:3:0"},
		{"dlq", "show", "0:4:0"},
		{"dlq", "show", "0:5:0"},
		{"dlq", "show", "0:6"},
	} {
		for _, output := range []string{outputTable, outputJSON} {
			got, stdout, stderr := o.do(t, append(args, "-o", output)...)
			if got == exitUsage || stdout == "" {
				t.Errorf("%v: status %d: %s%s", args, got, stdout, stderr)
			}
			printed += stdout + stderr
		}
	}
	for _, m := range o.broker.ReadAll(t, o.topics.DLQ) {
		for _, h := range m.Headers {
			if strings.HasPrefix(h.Key, "dlq.") {
				printed += string(h.Value) + "\n"
			}
		}
	}
	for _, m := range o.broker.ReadAll(t, o.topics.Audit) {
		printed += string(m.Value) + "\n"
	}
	for line := range strings.Lines(printed) {
		if strings.Contains(line, "needle") {
			t.Errorf("a value is shown: %s", line)
		}
	}
}
