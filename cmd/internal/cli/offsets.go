package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
)

func showOffsets(ctx context.Context, in *invocation, d *ops.Session) int {
	group, offsets, err := d.Offsets(ctx)
	if err != nil {
		return in.failed(ctx, err)
	}
	if in.output == outputTable {
		in.print(offsetsText(group, offsets))
		return exitDone
	}
	status := in.printJSON(group)
	for _, o := range offsets {
		status = max(status, in.printJSON(o))
	}
	return status
}

func offsetsText(group ops.GroupState, lines []ops.Offset) string {
	var b strings.Builder
	fmt.Fprintf(&b, "GROUP  %s, %s, %s\n", group.Group, group.State, texts.Plural(len(group.Members), "member"))
	for _, m := range group.Members {
		fmt.Fprintf(&b, "  %s  %s  %s  %s\n", texts.Quoted(m.ID), texts.Quoted(m.ClientID), texts.Quoted(m.Host), strings.Join(m.Partitions, " "))
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
