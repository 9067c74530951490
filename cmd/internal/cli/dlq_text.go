package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"membersync/dlq"
)

// text is what dlq show prints for people.
func (v viewJSON) text(now time.Time) string {
	var b strings.Builder
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-13s %s\n", name, printable(value))
		}
	}
	fact("ID", v.ID)
	fact("STATE", string(v.State))
	fact("REASON", fmt.Sprintf("%s (%s)", v.Reason, v.Stage))
	fact("ERROR", v.Error)
	fact("EMPLOYEE", v.EmployeeID)
	fact("EVENT", v.eventText())
	fact("CRM CODE", v.CRMCode)
	fact("CRM TRACE", v.CRMTraceID)
	fact("THIRD TRACE", v.ThirdTraceID)
	fact("CRM CALLS", fmt.Sprint(v.Attempts))
	fact("REDRIVES", fmt.Sprint(v.Redrives))
	fact("FIRST FAILED", v.failed(v.FirstFailedAt, now))
	fact("FAILED", v.failed(v.FailedAt, now))
	fact("SOURCE", fmt.Sprintf("%s %d:%d", v.Source.Topic, v.Source.Partition, v.Source.Offset))
	fact("DEAD LETTER", fmt.Sprintf("%d:%d in the DLQ, %s in all", v.DLQ.Partition, v.DLQ.Offset, plural(v.Letters, "letter")))
	fact("SERVICE", strings.TrimSpace(v.Group+" "+v.Version))
	v.historyText(&b)
	v.payloadText(&b)
	v.nowText(&b)
	return b.String()
}

func (v viewJSON) eventText() string {
	if v.Index == nil {
		return strings.TrimSpace(v.EventID + " (the record failed whole)")
	}
	return fmt.Sprintf("%s (%d of %d in its record)", v.EventID, *v.Index+1, *v.Count)
}

func (v viewJSON) failed(at *string, now time.Time) string {
	if at == nil {
		return ""
	}
	t, err := time.Parse(time.RFC3339, *at)
	if err != nil {
		return *at
	}
	return *at + ", " + age(t, now) + " ago"
}

func (v viewJSON) historyText(b *strings.Builder) {
	b.WriteString("\nHISTORY\n")
	t := table{{"", 24}, {"", 14}, {"", 6}, {"", 14}, {"", 20}, {"", 0}}
	for _, m := range v.History {
		at := ""
		if m.At != nil {
			at = *m.At
		}
		b.WriteString("  " + t.row(at, m.What, fmt.Sprintf("no. %d", m.Number), m.Result, m.Actor, m.Note))
	}
}

func (v viewJSON) payloadText(b *strings.Builder) {
	fmt.Fprintf(b, "\nPAYLOAD (%d bytes)\n", v.PayloadBytes)
	for _, h := range v.Headers {
		fmt.Fprintf(b, "  header %s: %s\n", printable(h.Key), printable(h.Value))
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

func (v viewJSON) nowText(b *strings.Builder) {
	b.WriteString("\nNOW\n")
	if v.Reason == dlq.ReasonInvalidRedrive {
		b.WriteString("  " + neverRun + "\n")
	}
	for _, n := range v.Now {
		fmt.Fprintf(b, "  event %d: %s", n.Index, n.Outcome)
		if n.Reason != "" {
			b.WriteString(", " + printable(n.Reason))
		}
		b.WriteString("\n")
		if n.Outcome != "update" {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(n.User)) {
			mark := ""
			if slices.Contains(n.Fields, name) {
				mark = "   a newer event was applied"
			}
			fmt.Fprintf(b, "    %-24s %s%s\n", name, printable(string(n.User[name])), mark)
		}
		b.WriteString("  overtaken by newer events: " + n.Overtaken + "\n")
	}
}
