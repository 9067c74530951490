package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Versions must not expire while a topic can hold an older event. Brokers delete whole segments, so
// a record can be as old as retention.ms and segment.ms together.
func TestRunRefusesMemberTTL(t *testing.T) {
	t.Parallel()
	hours := func(n int) string { return fmt.Sprint(n * 3_600_000) }
	for name, tc := range map[string]struct {
		ttl      string
		source   map[string]string // settings of the topics
		redrives map[string]string
		want     string // S and R stand for these topics; empty: it starts
	}{
		"as long as the longest topic holds a record": {ttl: "888h"},
		"shorter than dead letters stay": {
			ttl:  "887h59m59s",
			want: "topic S.dlq can hold a record for 888h0m0s (retention.ms 720h0m0s + segment.ms 168h0m0s), so an old event",
		},
		"shorter than source records stay": {
			ttl: "900h", source: map[string]string{"retention.ms": hours(850), "segment.ms": hours(51)},
			want: "topic S can hold a record for 901h0m0s (retention.ms 850h0m0s + segment.ms 51h0m0s), so an old event could replace a newer " +
				"value: set MEMBERSYNC_STATE_MEMBER_TTL to at least 901h0m0s, or to 0",
		},
		"shorter than redrives stay": {
			ttl: "900h", redrives: map[string]string{"retention.ms": hours(900), "segment.ms": hours(1)},
			want: "topic R can hold a record for 901h0m0s",
		},
		"unlimited retention": {
			ttl: "8760h", source: map[string]string{"retention.ms": "-1"},
			want: "topic S holds records for an unlimited time, so an old event could replace a newer value: set MEMBERSYNC_STATE_MEMBER_TTL to 0",
		},
		"retention beyond any duration": {
			ttl: "8760h", source: map[string]string{"retention.ms": "9223372036854775807"}, want: "topic S holds records for an unlimited time",
		},
		"a compacted topic":               {ttl: "8760h", source: map[string]string{"cleanup.policy": "compact"}, want: "topic S holds records for an unlimited time"},
		"unlimited retention without one": {ttl: "0", source: map[string]string{"retention.ms": "-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newService(t)
			r.app.serve = (&fakeService{}).serve
			source, redrives := r.broker.Topic(t, 1, tc.source), r.broker.Topic(t, 1, tc.redrives)
			r.set("KAFKA_TOPIC", source)
			r.set("DLQ_REDRIVE_TOPIC", redrives)
			r.set("STATE_MEMBER_TTL", tc.ttl)
			end, status := r.background(t)
			if tc.want == "" {
				r.errs.await(t, "serving")
				end(errors.New("test over"))
				if got := <-status; got != exitDone {
					t.Errorf("status %d: %s", got, r.errs)
				}
				return
			}
			if got := <-status; got != exitUsage {
				t.Errorf("status %d: %s", got, r.errs)
			}
			want := strings.NewReplacer("S.dlq", source+".dlq", "topic S ", "topic "+source+" ", "topic R ", "topic "+redrives+" ").Replace(tc.want)
			if log := r.errs.String(); !strings.Contains(log, "kafka: MEMBERSYNC_STATE_MEMBER_TTL is ") || !strings.Contains(log, want) {
				t.Errorf("%s lacks %q", log, want)
			}
		})
	}
}

// Every topic is named at once, and check reports the same without starting.
func TestCheckReportsMemberTTL(t *testing.T) {
	t.Parallel()
	r := newService(t)
	source := r.broker.Topic(t, 1, map[string]string{"retention.ms": "-1"})
	r.set("KAFKA_TOPIC", source)
	r.set("DLQ_TOPIC", r.broker.Topic(t, 1, map[string]string{"retention.ms": "-1"}))
	r.set("STATE_MEMBER_TTL", "336h")
	if status := r.run(t, "check", "-o", "json"); status != exitFailed {
		t.Errorf("status %d", status)
	}
	if n := strings.Count(r.out.String(), "holds records for an unlimited time"); n != 2 {
		t.Errorf("%d topics are named, want 2: %s", n, r.out)
	}
}

// A replay and a rebuild write versions too.
func TestReplayAndRebuildRefuseMemberTTL(t *testing.T) {
	t.Parallel()
	o, stop := replayed(t)
	stop()
	o.set("STATE_DONE_TTL", "1h")
	for _, args := range [][]string{
		{"replay", "--from=earliest", "--yes"},
		{"replay", "--from=earliest", "--dry-run"},
		{"state", "rebuild", "--yes"},
	} {
		o.set("STATE_MEMBER_TTL", "335h")
		status, _, stderr := o.do(t, args...)
		if status != exitFailed || !strings.Contains(stderr, "topic TOPIC can hold a record for 336h0m0s") {
			t.Errorf("%v: status %d: %s", args, status, stderr)
		}
		o.set("STATE_MEMBER_TTL", "336h")
		o.must(t, args...)
	}
}
