package cli

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/dlq"
	"membersync/dlq/partlog"
)

// A target is where offsets are to be set to.
type target struct {
	given    bool
	earliest bool
	latest   bool
	at       time.Time
	offsets  map[int]int64 // only these partitions
}

func offsetsResetCommand() command {
	var (
		o  order
		to target
	)
	return onCallCommand(command{
		name: "offsets reset", summary: "set the group's offsets in the source topic, while no instance runs",
		details: "Records that come once more do no harm: what is done is a duplicate, and the versions keep older values back. Records that\n" +
			"are skipped are not processed at all. The old offsets go to the audit topic before, and the command that undoes it is printed.\n\n" +
			outputHelp +
			"  --to  earliest, latest, a time in RFC 3339 or partition:offset\n" +
			"        a time is that of the first record to read, in all partitions; partition:offset is for that one alone, and may be repeated\n" +
			orderHelp,
		flags: func(in *invocation, flags *flag.FlagSet) {
			outputFlag(in, flags)
			o.define(flags)
			flags.Func("to", "", func(text string) error {
				if !to.take(text) {
					in.fault("--to", "should be earliest, latest, a time such as 2026-11-22T08:00:00Z, or offsets such as 3:1042, and only one kind of them")
				}
				return nil
			})
		},
	}, func(ctx context.Context, in *invocation, d *desk) int { return in.resetOffsets(ctx, d, o, to) })
}

func (t *target) take(text string) bool {
	if t.given && t.offsets == nil {
		return false
	}
	if partition, offset, ok := parsePlace(text); ok {
		if t.given && t.offsets == nil {
			return false
		}
		if t.offsets == nil {
			t.offsets = map[int]int64{}
		}
		_, twice := t.offsets[partition]
		t.offsets[partition] = offset
		t.given = true
		return !twice
	}
	if t.given {
		return false
	}
	t.given = true
	switch text {
	case "earliest":
		t.earliest = true
		return true
	case "latest":
		t.latest = true
		return true
	}
	var err error
	t.at, err = time.Parse(time.RFC3339, text)
	return err == nil
}

// parsePlace reads partition:offset.
func parsePlace(text string) (partition int, offset int64, ok bool) {
	first, second, ok := strings.Cut(text, ":")
	partition, err1 := strconv.Atoi(first)
	offset, err2 := strconv.ParseInt(second, 10, 64)
	return partition, offset, ok && err1 == nil && err2 == nil && partition >= 0 && offset >= 0
}

// An outsideError says that an offset to set is none that the log holds.
type outsideError struct {
	partition int
	offset    int64
	span      partlog.Range
	missing   bool
}

// Error names the partition and what it holds.
func (e *outsideError) Error() string {
	if e.missing {
		return fmt.Sprintf("--to: there is no partition %d", e.partition)
	}
	return fmt.Sprintf("--to: offset %d is outside partition %d, which holds %d to %d", e.offset, e.partition, e.span.First, e.span.End)
}

// resolve turns the target into an offset for each partition that it is about.
func (t *target) resolve(ctx context.Context, d *desk, topic string) (map[int]int64, map[int]partlog.Range, error) {
	spans, err := d.spans(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	to := make(map[int]int64, len(spans))
	var since map[int]int64
	if !t.at.IsZero() {
		if since, err = partlog.New(d.parts.Kafka, pageBytes, pageWait).Since(ctx, topic, t.at); err != nil {
			return nil, nil, err
		}
	}
	for p, offset := range t.offsets {
		span, ok := spans[p]
		if !ok || offset < span.First || offset > span.End {
			return nil, nil, &outsideError{p, offset, span, !ok}
		}
		to[p] = offset
	}
	for p, span := range spans {
		offset, found := since[p]
		switch {
		case t.offsets != nil:
		case t.earliest:
			to[p] = span.First
		case found:
			to[p] = min(max(offset, span.First), span.End)
		default: // latest, or no record is that young
			to[p] = span.End
		}
	}
	return to, spans, nil
}

// The json form of offsets reset, a line for each partition.
type resetJSON struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	From      int64  `json:"from"` // -1: none
	To        int64  `json:"to"`
	Again     int64  `json:"records_again"`   // that come once more
	Skipped   int64  `json:"records_skipped"` // that are not processed
	Result    string `json:"result"`          // done, planned or failed
}

func (in *invocation) resetOffsets(ctx context.Context, d *desk, o order, to target) int {
	if !to.given && len(in.faults) == 0 {
		in.fault("--to", "is required: earliest, latest, a time or partition:offset")
	}
	if in.refuse(nil) {
		return exitUsage
	}
	lines, err := d.planReset(ctx, &to)
	if err != nil {
		return in.failed(ctx, err)
	}
	group, err := d.group(ctx)
	if err != nil {
		return in.failed(ctx, err)
	}
	if n := len(group.Members); n > 0 && !o.dryRun {
		in.complain(fmt.Sprintf("refused: group %s has %s; stop them first", group.Group, plural(n, "live member")))
		return exitFailed
	}
	if o.dryRun {
		return in.printReset(lines, "planned")
	}
	in.say(resetText(lines))
	if !in.goesAhead(o, "Reset?") {
		return exitFailed
	}
	if err := d.reset(ctx, lines, dlq.AuditRecord{Actor: in.who(o), Note: o.note}); err != nil {
		in.printReset(lines, dlq.ResultFailed)
		return in.failed(ctx, err)
	}
	status := in.printReset(lines, dlq.ResultDone)
	if undo := undoOf(lines); undo != "" {
		in.complain("to undo it: " + undo)
	}
	return status
}

func (d *desk) planReset(ctx context.Context, to *target) ([]resetJSON, error) {
	topic := d.cfg.Kafka.Topic
	offsets, spans, err := to.resolve(ctx, d, topic)
	if err != nil {
		return nil, err
	}
	stored, err := d.committed(ctx, topic)
	if err != nil {
		return nil, err
	}
	var lines []resetJSON
	for p := range len(spans) {
		offset, ok := offsets[p]
		if !ok {
			continue
		}
		now := stored[p] // where it would go on without the reset
		if now < 0 {
			now = spans[p].First
		}
		lines = append(lines, resetJSON{
			Topic: topic, Partition: p, From: stored[p], To: offset,
			Again: max(now-offset, 0), Skipped: max(offset-now, 0),
		})
	}
	return lines, nil
}

// reset commits the offsets. The old ones go to the audit topic first.
func (d *desk) reset(ctx context.Context, lines []resetJSON, record dlq.AuditRecord) error {
	record.Action, record.Subject = dlq.ActionOffsetsReset, d.cfg.Kafka.Group
	var commits []kafka.OffsetCommit
	for _, l := range lines {
		record.Detail.Offsets = append(record.Detail.Offsets, dlq.OffsetChange{Topic: l.Topic, Partition: l.Partition, From: l.From, To: l.To})
		commits = append(commits, kafka.OffsetCommit{Partition: l.Partition, Offset: l.To})
	}
	known, err := d.hasOffsets(ctx)
	if err != nil {
		return err
	}
	return d.recorded(ctx, record, func() error {
		if !known { // its offsets would otherwise read as those of a state that was lost
			if err := d.parts.Store.MarkInitialized(ctx, d.cfg.Kafka.Group); err != nil {
				return err
			}
		}
		return d.commit(ctx, commits)
	})
}

func (d *desk) commit(ctx context.Context, commits []kafka.OffsetCommit) error {
	topic := d.cfg.Kafka.Topic
	res, err := d.parts.Kafka.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID: d.cfg.Kafka.Group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: commits},
	})
	if err != nil {
		return fmt.Errorf("committing for group %s: %w", d.cfg.Kafka.Group, err)
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return fmt.Errorf("committing for group %s, %s/%d: %w", d.cfg.Kafka.Group, topic, p.Partition,
				partlog.OnTopic("Read", topic, partlog.OnGroup("Read", d.cfg.Kafka.Group, p.Error)))
		}
	}
	return nil
}

func resetTable() table {
	return table{{"PARTITION", 30}, {"FROM", 10}, {"TO", 10}, {"AGAIN", 8}, {"SKIPPED", 8}, {"RESULT", 0}}
}

func (l resetJSON) row() string {
	from := "none"
	if l.From >= 0 {
		from = fmt.Sprint(l.From)
	}
	return resetTable().row(fmt.Sprintf("%s/%d", l.Topic, l.Partition), from, fmt.Sprint(l.To), fmt.Sprint(l.Again), fmt.Sprint(l.Skipped), l.Result)
}

func resetText(lines []resetJSON) string {
	var b strings.Builder
	b.WriteString("plan:\n" + resetTable().heading())
	for _, l := range lines {
		b.WriteString(l.row())
	}
	return b.String()
}

func (in *invocation) printReset(lines []resetJSON, result string) int {
	status := exitDone
	if in.output == outputTable {
		in.print(resetTable().heading())
	}
	for _, l := range lines {
		l.Result = result
		if in.output == outputTable {
			in.print(l.row())
		} else {
			status = max(status, in.printJSON(l))
		}
	}
	return status
}

// undoOf is the command that sets the old offsets again. A partition that had none cannot be put back.
func undoOf(lines []resetJSON) string {
	var b strings.Builder
	for _, l := range lines {
		if l.From >= 0 {
			fmt.Fprintf(&b, " --to %d:%d", l.Partition, l.From)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "membersync offsets reset" + b.String()
}
