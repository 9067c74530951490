package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/wiring"
	"membersync/dlq"
	"membersync/dlq/partlog"
)

func offsetsShowCommand() command {
	return onCallCommand(command{
		name: "offsets show", summary: "show the group's offsets in the source and redrive topics, lag in records and time, its members and who owns what",
		details: "In json the first line is the group with its members, then a line for each partition.\n\n" + outputHelp,
		flags:   outputFlag,
	}, func(ctx context.Context, in *invocation, d *desk) int { return in.showOffsets(ctx, d) })
}

// The json form of offsets show: first the group, then its partitions.
type groupStateJSON struct {
	Group   string       `json:"group"`
	State   string       `json:"state"` // as Kafka calls it: Stable, Empty, Dead, …
	Members []memberJSON `json:"members"`
}

type memberJSON struct {
	ID         string   `json:"id"`
	ClientID   string   `json:"client_id"`
	Host       string   `json:"host"`
	Partitions []string `json:"partitions"` // topic/partition
}

type offsetJSON struct {
	Topic      string `json:"topic"`
	Partition  int    `json:"partition"`
	Committed  int64  `json:"committed"` // -1: none
	LogStart   int64  `json:"log_start"`
	LogEnd     int64  `json:"log_end"`
	LagRecords int64  `json:"lag_records"`
	LagSeconds int64  `json:"lag_seconds"` // age of the oldest record that is not committed
	Member     string `json:"member"`      // empty: nobody owns it
}

func (in *invocation) showOffsets(ctx context.Context, d *desk) int {
	group, err := d.group(ctx)
	if err != nil {
		return in.failed(ctx, err)
	}
	lines, err := d.offsets(ctx, d.cfg.Kafka.Topic, group, time.Now())
	if err != nil {
		return in.failed(ctx, err)
	}
	redrives, err := d.offsets(ctx, wiring.Topics(d.cfg).Redrive, group, time.Now())
	if _, missing := errors.AsType[*dlq.MissingTopicError](err); err != nil && !missing {
		return in.failed(ctx, err)
	}
	lines = append(lines, redrives...)
	if in.output == outputTable {
		in.print(offsetsText(group, lines))
		return exitDone
	}
	status := in.printJSON(group)
	for _, line := range lines {
		status = max(status, in.printJSON(line))
	}
	return status
}

func offsetsText(group groupStateJSON, lines []offsetJSON) string {
	var b strings.Builder
	fmt.Fprintf(&b, "GROUP  %s, %s, %s\n", group.Group, group.State, plural(len(group.Members), "member"))
	for _, m := range group.Members {
		fmt.Fprintf(&b, "  %s  %s  %s  %s\n", printable(m.ID), printable(m.ClientID), printable(m.Host), strings.Join(m.Partitions, " "))
	}
	t := table{{"PARTITION", 30}, {"COMMITTED", 10}, {"LOG START", 10}, {"LOG END", 10}, {"LAG", 8}, {"LAG TIME", 9}, {"MEMBER", 0}}
	b.WriteString("\n" + t.heading())
	for _, l := range lines {
		committed := "none"
		if l.Committed >= 0 {
			committed = fmt.Sprint(l.Committed)
		}
		b.WriteString(t.row(fmt.Sprintf("%s/%d", l.Topic, l.Partition), committed, fmt.Sprint(l.LogStart), fmt.Sprint(l.LogEnd),
			fmt.Sprint(l.LagRecords), (time.Duration(l.LagSeconds) * time.Second).String(), l.Member))
	}
	return b.String()
}

// group describes the consumer group.
func (d *desk) group(ctx context.Context) (groupStateJSON, error) {
	name := d.cfg.Kafka.Group
	g := groupStateJSON{Group: name, State: "Dead", Members: []memberJSON{}}
	res, err := d.parts.Kafka.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{name}})
	if err != nil {
		return g, fmt.Errorf("describing group %s: %w", name, err)
	}
	for _, one := range res.Groups {
		if errors.Is(one.Error, kafka.GroupIdNotFound) {
			continue
		}
		if one.Error != nil {
			return g, fmt.Errorf("describing group %s: %w", name, partlog.OnGroup("Describe", name, one.Error))
		}
		g.State = one.GroupState
		for _, m := range one.Members {
			member := memberJSON{ID: m.MemberID, ClientID: m.ClientID, Host: m.ClientHost, Partitions: []string{}}
			for _, t := range m.MemberAssignments.Topics {
				for _, p := range t.Partitions {
					member.Partitions = append(member.Partitions, fmt.Sprintf("%s/%d", t.Topic, p))
				}
			}
			slices.Sort(member.Partitions)
			g.Members = append(g.Members, member)
		}
	}
	return g, nil
}

// offsets tells of each partition of a topic how far the group is.
func (d *desk) offsets(ctx context.Context, topic string, group groupStateJSON, now time.Time) ([]offsetJSON, error) {
	spans, err := d.spans(ctx, topic)
	if err != nil {
		return nil, err
	}
	stored, err := d.committed(ctx, topic)
	if err != nil {
		return nil, err
	}
	lines := make([]offsetJSON, len(spans))
	faults := make([]error, len(spans))
	var all sync.WaitGroup
	for p := range lines {
		span := spans[p]
		next := max(stored[p], span.First)
		lines[p] = offsetJSON{
			Topic: topic, Partition: p, Committed: stored[p], LogStart: span.First, LogEnd: span.End,
			LagRecords: max(span.End-next, 0), Member: group.owner(fmt.Sprintf("%s/%d", topic, p)),
		}
		if lines[p].LagRecords == 0 {
			continue
		}
		all.Go(func() {
			at, err := d.timeOf(ctx, topic, p, partlog.Range{First: next, End: span.End})
			faults[p] = err
			if !at.IsZero() {
				lines[p].LagSeconds = int64(max(now.Sub(at), 0).Seconds())
			}
		})
	}
	all.Wait()
	return lines, errors.Join(faults...)
}

func (g groupStateJSON) owner(partition string) string {
	for _, m := range g.Members {
		if slices.Contains(m.Partitions, partition) {
			return m.ID
		}
	}
	return ""
}

var errFound = errors.New("found")

// timeOf returns the timestamp of the first record in a span, and the zero time if there is none.
func (d *desk) timeOf(ctx context.Context, topic string, partition int, span partlog.Range) (at time.Time, err error) {
	log := partlog.New(d.parts.Kafka, 1, pageWait) // one batch
	_, err = log.Read(ctx, topic, partition, span, func(rec *partlog.Record) error {
		at = rec.Time
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return at, err
}
