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
	api := r.crm.client()
	defer api.Close()
	cfg, parts := r.config(), r.parts(api, prometheus.NewRegistry())
	r.dlq.redriving(&cfg, &parts)
	index, err := dlq.NewReader(r.kafka.client(), r.kafka.topics()).Index(r.t.Context(), dlq.Query{}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.replays++
	cfg.Group, cfg.Replay, cfg.Covers = fmt.Sprintf("%s.replay.%d", r.kafka.group, r.replays), true, ranges
	cfg.LiveGroup, parts.Items = r.kafka.group, index
	c(&cfg, &parts)
	ranges = slices.Clone(ranges)
	for partition, end := range r.kafka.Ends(r.t, r.kafka.topics().Redrive) {
		ranges = append(ranges, consumer.Range{Topic: r.kafka.topics().Redrive, Partition: partition, End: end})
	}
	err = consumer.New(cfg, parts).Replay(ctx, ranges, func(at consumer.ReplayProgress) { last = at })
	return last, err
}

// The CRM was restored from an older backup, and the live service changes the same members during
// the replay. At the end each field has the value of the newest event that states it.
func TestReapplyRepairsARestoredCRM(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.start(r.dlq.redriving)
	const members = 5
	for round := range 4 {
		for m := range members {
			r.kafka.produce(r.change(m, fields{"position": fmt.Sprintf("P%d", round), "qq": fmt.Sprint(round)}))
		}
	}
	r.process(r.change(0, fields{"weixin": "w"}))
	for m := range members { // the backup has only the first round
		r.crm.SetMember(member(m), map[string]json.RawMessage{
			"position": json.RawMessage(`"P0"`), "qq": json.RawMessage(`"0"`),
		})
	}
	ranges := r.kafka.all()
	for m := range members {
		r.kafka.produce(r.change(m, fields{"position": "Newest"}))
	}
	r.replay(true, ranges...)
	r.settled()
	for m := range members {
		r.crm.wantField(m, "position", `"Newest"`)
		r.crm.wantField(m, "qq", `"3"`)
	}
	r.crm.wantField(0, "weixin", `"w"`)
}

// Without reapply, a replay skips the events that are done, without a call.
func TestReplaySkipsEventsThatAreDone(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(2), Times: 1, Code: 20012})
	live := r.start(r.dlq.redriving)
	r.process(r.change(1, fields{"position": "A"}), r.change(2, fields{"position": "B"}))
	live.stop()
	r.kafka.produce(r.change(3, fields{"position": "C"})) // not processed yet
	r.replay(false, r.kafka.all()...)
	r.crm.wantCalls(3)
	r.crm.wantField(3, "position", `"C"`)
	r.replay(false, r.kafka.all()...) // it was complete, and stays so
	r.dlq.wantCount(1)
}
