package consumer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// replay replays ranges, and the redrives of their events, alongside the services that run.
func (r *rig) replay(reapply bool, ranges ...consumer.Range) {
	r.t.Helper()
	r.replayWith(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.Reapply = reapply }, ranges...)
}

func (r *rig) replayWith(c change, ranges ...consumer.Range) {
	r.t.Helper()
	last, err := r.replayFor(0, c, ranges...)
	if err != nil {
		r.t.Error(err)
	}
	if last.Done != last.Total {
		r.t.Errorf("ended at %d of %d", last.Done, last.Total)
	}
}

// replayFor stops the replay after the time, if it is not 0.
func (r *rig) replayFor(limit time.Duration, c change, ranges ...consumer.Range) (last consumer.ReplayProgress, err error) {
	r.t.Helper()
	ctx := r.t.Context()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	api := r.api()
	defer api.Close()
	cfg, parts := r.config(), r.parts(api, prometheus.NewRegistry())
	r.redriving(&cfg, &parts)
	index, err := dlq.NewReader(r.client(), r.topics()).Index(r.t.Context(), dlq.Query{}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.replays++
	cfg.Group, cfg.Replay, cfg.Covers = fmt.Sprintf("%s.replay.%d", r.group, r.replays), true, ranges
	cfg.LiveGroup, parts.Items = r.group, index
	c(&cfg, &parts)
	ranges = slices.Clone(ranges)
	for partition, end := range r.broker.Ends(r.t, r.topics().Redrive) {
		ranges = append(ranges, consumer.Range{Topic: r.topics().Redrive, Partition: partition, End: end})
	}
	err = consumer.New(cfg, parts).Replay(ctx, ranges, func(at consumer.ReplayProgress) { last = at })
	return last, err
}

// all returns the ranges of the whole source topic, up to its current end.
func (r *rig) all() []consumer.Range {
	r.t.Helper()
	var ranges []consumer.Range
	for partition, end := range r.broker.Ends(r.t, r.topic) {
		ranges = append(ranges, consumer.Range{Topic: r.topic, Partition: partition, End: end})
	}
	return ranges
}

// The CRM was restored from an older backup, and the live service changes the same members during
// the replay. At the end each field has the value of the newest event that states it.
func TestReapplyRepairsARestoredCRM(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.start(r.redriving)
	const members = 5
	for round := range 4 {
		for m := range members {
			r.produce(r.change(m, fields{"position": fmt.Sprintf("P%d", round), "qq": fmt.Sprint(round)}))
		}
	}
	r.produce(r.change(0, fields{"weixin": "w"}))
	r.settled()
	for m := range members { // the backup has only the first round
		r.crm.SetMember(member(m), map[string]json.RawMessage{
			"position": json.RawMessage(`"P0"`), "qq": json.RawMessage(`"0"`),
		})
	}
	ranges := r.all()
	for m := range members {
		r.produce(r.change(m, fields{"position": "Newest"}))
	}
	r.replay(true, ranges...)
	r.settled()
	for m := range members {
		r.wantField(m, "position", `"Newest"`)
		r.wantField(m, "qq", `"3"`)
	}
	r.wantField(0, "weixin", `"w"`)
}

// Without reapply, a replay skips the events that are done, without a call.
func TestReplaySkipsEventsThatAreDone(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(2), Times: 1, Code: 20012})
	live := r.start(r.redriving)
	r.produce(r.change(1, fields{"position": "A"}), r.change(2, fields{"position": "B"}))
	r.settled()
	live.stop()
	r.produce(r.change(3, fields{"position": "C"})) // not processed yet
	r.replay(false, r.all()...)
	if calls := r.crm.Calls(); len(calls) != 3 {
		t.Errorf("%d calls, want 3", len(calls))
	}
	r.wantField(3, "position", `"C"`)
	r.replay(false, r.all()...) // it was complete, and stays so
	if len(r.deadLetters()) != 1 {
		t.Errorf("%d dead letters", len(r.deadLetters()))
	}
}
