package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/dlq"
)

// deadLetterText is what dlq show prints for people.
func deadLetterText(v ops.DeadLetterView, now time.Time) string {
	var b strings.Builder
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-13s %s\n", name, texts.Quoted(value))
		}
	}
	fact("ID", v.ID)
	fact("STATE", string(v.State))
	fact("REASON", fmt.Sprintf("%s (%s)", v.Reason, v.Stage))
	fact("ERROR", v.Error)
	fact("EMPLOYEE", v.EmployeeID)
	fact("EVENT", eventText(v))
	fact("CRM CODE", v.CRMCode)
	fact("CRM TRACE", v.CRMTraceID)
	fact("THIRD TRACE", v.ThirdTraceID)
	fact("TRACE", v.TraceID)
	fact("CRM CALLS", fmt.Sprint(v.Attempts))
	fact("REDRIVES", fmt.Sprint(v.Redrives))
	fact("FIRST FAILED", failedText(v.FirstFailedAt, now))
	fact("FAILED", failedText(v.FailedAt, now))
	fact("SOURCE", fmt.Sprintf("%s %d:%d", v.Source.Topic, v.Source.Partition, v.Source.Offset))
	fact("DEAD LETTER", fmt.Sprintf("%d:%d in the DLQ, %s", v.DLQ.Partition, v.DLQ.Offset, texts.Plural(v.Occurrences, "occurrence")))
	fact("SERVICE", strings.TrimSpace(v.Group+" "+v.Version))
	historyText(&b, v)
	payloadText(&b, v)
	nowText(&b, v)
	return b.String()
}

func eventText(v ops.DeadLetterView) string {
	if v.Index == nil {
		return strings.TrimSpace(v.EventID + " (the record failed whole)")
	}
	return fmt.Sprintf("%s (%d of %d in its record)", v.EventID, *v.Index+1, *v.Count)
}

func failedText(at ops.Time, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.String() + ", " + age(at.Time, now) + " ago"
}

func historyText(b *strings.Builder, v ops.DeadLetterView) {
	b.WriteString("\nHISTORY\n")
	t := table{{"AT", 24}, {"WHAT", 14}, {"REDRIVE", 7}, {"RESULT", 14}, {"BY", 20}, {"NOTE", 0}}
	b.WriteString("  " + t.heading())
	for _, m := range v.History {
		b.WriteString("  " + t.row(m.At.String(), m.What, redriveText(m.Number), m.Result, momentActor(m), m.Note))
	}
}

func payloadText(b *strings.Builder, v ops.DeadLetterView) {
	fmt.Fprintf(b, "\nPAYLOAD (%d bytes)\n", v.PayloadBytes)
	for _, h := range v.Headers {
		fmt.Fprintf(b, "  header %s: %s\n", texts.Quoted(h.Key), texts.Quoted(h.Value))
	}
	var indented bytes.Buffer
	switch {
	case v.Payload != nil && json.Indent(&indented, v.Payload, "  ", "  ") == nil:
		b.WriteString("  " + indented.String() + "\n")
	case v.Value != nil:
		fmt.Fprintf(b, "  %q\n", v.Value)
	default:
		b.WriteString("  it cannot be read as JSON; --reveal shows the bytes\n")
	}
}

func nowText(b *strings.Builder, v ops.DeadLetterView) {
	b.WriteString("\nNOW\n")
	if v.Reason == dlq.ReasonInvalidRedrive {
		b.WriteString("  " + ops.NeverRedriven + "\n")
	}
	for _, n := range v.Now {
		fmt.Fprintf(b, "  event %d: %s", n.Index, n.Outcome)
		if n.Reason != "" {
			b.WriteString(", " + texts.Quoted(n.Reason))
		}
		b.WriteString("\n")
		if n.Outcome != "update" {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(n.User)) {
			mark := ""
			if slices.Contains(n.NewerFields, name) {
				mark = "   has a newer value"
			}
			fmt.Fprintf(b, "    %-24s %s%s\n", name, texts.Quoted(string(n.User[name])), mark)
		}
		b.WriteString("  fields with newer values: " + string(n.Newer) + "\n")
	}
}

// redriveText is the number of a redrive; empty: the event's first processing.
func redriveText(number int) string {
	if number == 0 {
		return ""
	}
	return fmt.Sprint(number)
}

// momentActor is who did it: a failure is the service's.
func momentActor(m ops.Moment) string {
	if m.What == ops.MomentFailed {
		return "membersync run"
	}
	return m.Actor
}
