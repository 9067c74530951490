package cli

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/cmd/internal/interrupt"
	"membersync/cmd/internal/test/goldentest"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	store := o.parts(t).Store
	paused := func() bool {
		_, is, err := store.Paused(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if got := o.must(t, "pause", "--for=2h", "--dry-run"); !strings.Contains(got, "would: stop all calls to http") || paused() {
		t.Errorf("dry run: %s", got)
	}
	status, _, stderr := o.do(t, "pause")
	if status != exitFailed || !strings.Contains(stderr, "--yes") || paused() {
		t.Errorf("without --yes: status %d: %s", status, stderr)
	}
	until := regexp.MustCompile(`20[0-9-]*T[0-9:.]*Z`)
	got := until.ReplaceAllString(o.must(t, "pause", "--for", "2h", "--note=the vendor asks", "--actor=sample@host", "--yes"), "TIME")
	if got != "paused, until TIME\n" || !paused() {
		t.Errorf("printed %q", got)
	}
	again := objects(t, until.ReplaceAllString(o.must(t, "pause", "--yes", "--actor=other@host", "-o", "json"), "TIME"))
	want := map[string]any{
		"action": "pause", "result": "done", "until": nil, "held": nil,
		"was": map[string]any{"at": "TIME", "until": "TIME", "actor": "sample@host", "note": "the vendor asks"},
	}
	if d := cmp.Diff(want, again[0]); d != "" {
		t.Error(d)
	}
	status, stdout, stderr := o.do(t, "resume", "--yes", "--actor=sample@host", "--note=over")
	if status != exitDone || stdout != "resumed\n" || !strings.Contains(stderr, "by other@host") || paused() {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	group := o.variable("KAFKA_GROUP")
	audit := []string{
		"pause " + group + " done sample@host the vendor asks", "pause " + group + " done other@host ",
		"resume " + group + " done sample@host over",
	}
	if d := cmp.Diff(audit, o.topics.audit(t)); d != "" {
		t.Error(d)
	}
	if status, _, stderr := o.do(t, "pause", "--for=never"); status != exitUsage || !strings.Contains(stderr, "--for: should be a duration") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

// A pause must work in an outage of Kafka, and say what is missing.
func TestPauseWithoutTheAuditTopic(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("AUDIT_TOPIC", "gone-"+o.topics.Audit)
	status, stdout, stderr := o.do(t, "pause", "--yes")
	if status != exitPart || stdout != "paused, until resume\n" || !strings.Contains(stderr, "has no record of it") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.hr.send(t, "E9", event(9, "needle"))
	o.hr.send(t, "E1", event(1, "needle-position"))
	// Redis holds that event as applied.
	err := o.parts(t).Store.Restore(t.Context(), dedupe.NewMember(o.variable("CRM_BASE_URL"), "C1", "FSUID_TEST1"), []dedupe.DoneEvent{{
		ID: dedupe.NewEventID(o.topics.Source, "ev-1", 0, "2"), Outcome: "applied", Redrive: 1,
		Version: "00000000000000000000000002", Fields: []string{"position", "qq"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	goldentest.Compare(t, "testdata/state-show-table.txt", memberHash.ReplaceAllString(o.must(t, "state", "show", "E1"), "${1}HASH"))
	goldentest.Compare(t, "testdata/state-show-json.txt", memberHash.ReplaceAllString(o.must(t, "state", "show", "E1", "-o", "json"), "${1}HASH"))
	if got := o.must(t, "state", "forget", "E1", "--dry-run"); !strings.Contains(got, "versions of 2 fields (position, qq), done marks of 1 event") {
		t.Error(got)
	}
	if got := objects(t, o.must(t, "state", "show", "E1", "-o", "json")); len(got[0]["fields"].([]any)) != 2 { //nolint:errcheck,forcetypeassert // a test
		t.Errorf("a dry run forgets: %v", got)
	}
	status, stdout, stderr := o.do(t, "state", "forget", "E1", "--yes", "--actor=sample@host", "--note=wrong person")
	if status != exitDone || !strings.HasPrefix(stdout, "forgotten: employee E1: versions of 2 fields (position, qq), done marks of 1 event") || !strings.Contains(stderr, "however old") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	got := o.must(t, "state", "show", "E1")
	if strings.Contains(got, "applied") || strings.Contains(got, "position") || strings.Contains(got, "needle") {
		t.Errorf("still there: %s", got)
	}
	want := []string{"state_forget E1 requested sample@host wrong person", "state_forget E1 done sample@host wrong person"}
	if d := cmp.Diff(want, o.topics.audit(t)); d != "" {
		t.Error(d)
	}
}

func TestStateOfAnUnknownEmployee(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	if status, _, stderr := o.do(t, "state", "show", "E77"); status != exitFailed || !strings.Contains(stderr, "--open-user-id names the member") {
		t.Errorf("status %d: %s", status, stderr)
	}
	if got := o.must(t, "state", "show", "E77", "--open-user-id=FSUID_TEST77"); !strings.Contains(got, "LEASE     free") {
		t.Error(got)
	}
	if status, _, stderr := o.do(t, "state", "show"); status != exitUsage || !strings.Contains(stderr, "say which employee") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func TestOffsets(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	young := o.hr.at.Add(time.Hour)
	for p, times := range [][]time.Time{{o.hr.at, young}, {o.hr.at}, nil} {
		for i, at := range times {
			o.broker.Produce(t, o.topics.Source, kafka.Message{Partition: p, Value: []byte(event(int64(10*p+i), "x")), Time: at})
		}
	}
	group := o.variable("KAFKA_GROUP")
	clean := strings.NewReplacer(group, "GROUP")
	goldentest.Compare(t, "testdata/offsets-show-table.txt", noLag(clean.Replace(o.must(t, "offsets", "show"))))
	stop := o.running(t)
	for len(o.broker.Committed(t, group, o.topics.Source)) < 3 || o.broker.Lag(t, group, o.topics.Source) > 0 {
		if t.Context().Err() != nil {
			t.Fatal("the service commits nothing")
		}
	}
	live := objects(t, o.must(t, "offsets", "show", "-o", "json"))
	members, _ := live[0]["members"].([]any)
	if len(live) != 7 || live[0]["state"] != "Stable" || len(members) != 1 || live[1]["member"] == "" || live[1]["lag_records"] != 0.0 {
		t.Errorf("live: %v", live)
	}
	status, _, stderr := o.do(t, "offsets", "reset", "--to=earliest", "--yes")
	if status != exitFailed || !strings.Contains(stderr, "has live members (1)") {
		t.Errorf("status %d: %s", status, stderr)
	}
	stop()
	goldentest.Compare(t, "testdata/offsets-reset-dry.txt", o.must(t, "offsets", "reset", "--to", young.Format(time.RFC3339), "--dry-run"))
	status, stdout, stderr := o.do(t, "offsets", "reset", "--to=0:1", "--to", "1:0", "--yes", "--actor=sample@host", "-o", "json")
	goldentest.Compare(t, "testdata/offsets-reset.txt", stdout+"stderr\n"+stderr)
	if d := cmp.Diff(map[int]int64{0: 1, 1: 0, 2: 0}, o.broker.Committed(t, group, o.topics.Source)); d != "" || status != exitDone {
		t.Errorf("status %d: %s", status, d)
	}
	records := o.broker.ReadAll(t, o.topics.Audit)
	a, err := dlq.ParseAudit(records[0].Value)
	if err != nil || len(records) != 2 || a.Result != "requested" || a.Detail.Offsets[0] != (dlq.OffsetChange{Topic: o.topics.Source, From: 2, To: 1}) {
		t.Errorf("%d records, %+v, %v", len(records), a, err)
	}
	for bad, want := range map[string]string{
		"--to=0:3": "offset 3 is outside partition 0 of topic TOPIC, which begins at 0 and ends before 2", "--to=7:0": "unknown partition 7",
	} {
		if status, _, stderr := o.do(t, "offsets", "reset", bad, "--yes"); status != exitFailed || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d: %s", bad, status, stderr)
		}
	}
	for _, bad := range []string{"", "--to=soon", "--to=latest --to=0:1", "--to=0:1 --to=latest", "--to=0:1 --to=0:2", "--to=latest --to=earliest"} {
		if status, _, stderr := o.do(t, append([]string{"offsets", "reset"}, strings.Fields(bad)...)...); status != exitUsage || !strings.Contains(stderr, "--to") {
			t.Errorf("%s: status %d: %s", bad, status, stderr)
		}
	}
}

// noLag takes out what depends on the time of the test: how old the oldest record is, and so how
// wide its column.
func noLag(text string) string {
	text = regexp.MustCompile(`[0-9]+h[0-9]+m[0-9]+s`).ReplaceAllString(text, "AGE")
	return regexp.MustCompile(` {2,}`).ReplaceAllString(text, "  ")
}

// A group that begins by a reset has lost no state.
func TestResetOfANewGroup(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.must(t, "offsets", "reset", "--to=latest", "--yes")
	marker, err := o.parts(t).Store.Marker(t.Context(), o.variable("KAFKA_GROUP"))
	if err != nil || !marker.Exists() {
		t.Errorf("%+v, %v", marker, err)
	}
}

// An instance that starts marks the state and commits its first offsets, both between the command's
// question for the marker and its question for the offsets. Nothing is lost.
func TestAStateMarkedSinceTheFirstLookIsNotLost(t *testing.T) {
	t.Parallel()
	broker := kafkatest.StartFake(t)
	o := newOpsRigOn(t, broker)
	o.app.quiet = 100 * time.Millisecond
	o.topics.write(t, o.topics.deadLetter(1, dlq.ReasonCRMNotFound, 1, 0))
	o.must(t, "offsets", "reset", "--to=latest", "--yes")
	o.state.empty(t)
	store := o.parts(t).Store
	var marked error
	asked := false
	broker.Fake().ControlKey(int16(kmsg.OffsetFetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		asked, marked = true, store.MarkInitialized(context.WithoutCancel(t.Context()), o.variable("KAFKA_GROUP"))
		return nil, nil, false
	})
	status, _, stderr := o.do(t, redriveArgs("--all")...)
	if status != exitPart || !strings.Contains(stderr, "1 redrive sent") {
		t.Errorf("status %d: %s", status, stderr)
	}
	if !asked || marked != nil {
		t.Errorf("asked for the offsets: %t; marker: %v", asked, marked)
	}
}

// For some seconds after the restart of a broker, and for the first group of a new cluster, the
// requests to the coordinator of a group are refused.
func TestACoordinatorThatMovesIsAwaited(t *testing.T) {
	t.Parallel()
	broker := kafkatest.StartFake(t)
	o := newOpsRigOn(t, broker)
	for _, key := range []kmsg.Key{kmsg.OffsetFetch, kmsg.DescribeGroups, kmsg.OffsetCommit} {
		refused := 0
		broker.Fake().ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			broker.Fake().KeepControl()
			if refused++; refused > 2 {
				return nil, nil, false
			}
			return refuse(req, kerr.NotCoordinator.Code), nil, true
		})
		o.must(t, "offsets", "show")
		o.must(t, "offsets", "reset", "--to=latest", "--yes")
		if refused < 3 {
			t.Errorf("%v: %d requests", key, refused)
		}
	}
}

// Kafka takes the offsets, and not the audit record of the result: they are set all the same.
func TestResetWithoutARecordOfItsResult(t *testing.T) {
	t.Parallel()
	broker := kafkatest.StartFake(t)
	o := newOpsRigOn(t, broker)
	o.hr.change(t, 1, 1, `{"position":"A"}`)
	o.must(t, "offsets", "reset", "--to=earliest", "--yes")
	broker.Fake().ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		broker.Fake().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
			broker.Fake().KeepControl()
			return refuse(req, kerr.TopicAuthorizationFailed.Code), nil, true
		})
		return nil, nil, false
	})
	status, stdout, stderr := o.do(t, "offsets", "reset", "--to=latest", "--yes")
	if status != exitPart || !strings.Contains(stdout, "done") || strings.Contains(stdout, "failed") ||
		!strings.Contains(stderr, "to undo it") || !strings.Contains(stderr, "it is in force, but the audit topic has no record of it") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
}

// refuse answers a request to Kafka with an error.
func refuse(req kmsg.Request, code int16) kmsg.Response {
	switch res := req.ResponseKind().(type) {
	case *kmsg.OffsetFetchResponse:
		res.ErrorCode = code
		return res
	case *kmsg.DescribeGroupsResponse:
		group := kmsg.NewDescribeGroupsResponseGroup()
		group.ErrorCode = code
		res.Groups = append(res.Groups, group)
		return res
	case *kmsg.OffsetCommitResponse:
		partition := kmsg.NewOffsetCommitResponseTopicPartition()
		partition.ErrorCode = code
		request, _ := req.(*kmsg.OffsetCommitRequest)
		for _, topic := range request.Topics {
			answer := kmsg.NewOffsetCommitResponseTopic()
			answer.Topic, answer.Partitions = topic.Topic, append(answer.Partitions, partition)
			res.Topics = append(res.Topics, answer)
		}
		return res
	case *kmsg.ProduceResponse:
		request, _ := req.(*kmsg.ProduceRequest)
		for _, topic := range request.Topics {
			answer := kmsg.NewProduceResponseTopic()
			answer.Topic = topic.Topic
			for _, p := range topic.Partitions {
				partition := kmsg.NewProduceResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, code
				answer.Partitions = append(answer.Partitions, partition)
			}
			res.Topics = append(res.Topics, answer)
		}
		return res
	}
	panic("not a request that is refused")
}

func TestInterruptedCommand(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&interrupt.Error{Signal: os.Interrupt})
	if status := o.app.run(ctx, []string{"offsets", "show"}); status != exitInterrupted {
		t.Errorf("status %d", status)
	}
}

// A list of employees is forgotten one by one; one of them that is unknown does not stop the
// others.
func TestForgetAList(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	for i := range 3 {
		o.hr.change(t, i+1, i+1, `{"position":"A"}`)
	}
	o.served(t)
	o.files["employees.txt"] = "E1\nE404\nE3\n"
	status, stdout, stderr := o.do(t, "state", "forget", "--file=employees.txt", "--yes", "--actor=sample@host", "-o", "json")
	if status != exitPart {
		t.Errorf("status %d: %s", status, stderr)
	}
	var got []string
	for _, one := range objects(t, stdout) {
		got = append(got, fmt.Sprint(one["employee_id"], " ", one["result"], " ", one["events"]))
	}
	if d := cmp.Diff([]string{"E1 done 1", "E404 failed 0", "E3 done 1"}, got); d != "" {
		t.Error(d)
	}
	for employee, want := range map[string]int{"E1": 0, "E2": 1, "E3": 0} {
		state := objects(t, o.must(t, "state", "show", employee, "-o", "json"))[0]
		if fields, _ := state["fields"].([]any); len(fields) != want {
			t.Errorf("%s has %d fields, want %d", employee, len(fields), want)
		}
	}
	for args, want := range map[string]string{
		"E1 --file=employees.txt": "exclude each other", "": "give employees", "--file=employees.txt --open-user-id=x": "is for one employee",
	} {
		if status, _, stderr := o.do(t, append([]string{"state", "forget"}, strings.Fields(args)...)...); status != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d: %s", args, status, stderr)
		}
	}
}
