package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/interrupt"
	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/dlq"
)

func (in *invocation) withSession(ctx context.Context, run func(context.Context, *invocation, *ops.Session) int) int {
	cfg, ok := in.configuration(config.Load)
	if !ok {
		return exitUsage
	}
	parts, err := in.build(cfg, in.command.name == "replay") // which calls, alongside the instances of the service
	if err != nil {
		in.complain(err.Error())
		return exitUsage
	}
	defer parts.Close()
	session := ops.New(cfg, parts)
	in.target = session.Target().String()
	status := run(ctx, in, session)
	if interrupt.Ended(ctx) {
		return exitInterrupted
	}
	return status
}

// failed tells an error, and returns the exit status for it.
func (in *invocation) failed(ctx context.Context, err error) int {
	if ctx.Err() != nil {
		in.complain("stopped: " + context.Cause(ctx).Error())
		return exitFailed
	}
	in.complain(err.Error())
	if _, missing := errors.AsType[*dlq.MissingTopicError](err); missing {
		in.complain("has membersync run been started with these settings? It creates its topics")
	}
	if errors.Is(err, dlq.ErrNoItem) {
		in.complain("membersync dlq list --state all lists those that the dead-letter topic holds")
	}
	return exitFailed
}

// An order is what is said with a command that changes something.
type order struct {
	note, actor string
	dryRun, yes bool
}

// who returns the actor to record, and the note.
func (in *invocation) who(o order) ops.Who {
	return ops.Who{Actor: cmp.Or(o.actor, userOf(in)), Note: o.note}
}

// user returns $USER@host.
func userOf(in *invocation) string {
	user := "unknown"
	for _, name := range []string{"USER", "LOGNAME"} {
		for _, v := range in.Environ {
			if value, ok := strings.CutPrefix(v, name+"="); ok && value != "" && user == "unknown" {
				user = value
			}
		}
	}
	host, err := os.Hostname()
	return user + "@" + cmp.Or(host, map[bool]string{true: "unknown"}[err != nil], "unknown")
}

// sayTarget names what a plan is about.
func (in *invocation) sayTarget() { in.say("target: " + in.target + "\n") }

// goesAhead names the target and asks whether to carry out what was planned.
func (in *invocation) goesAhead(o order, question string) bool {
	in.sayTarget()
	switch {
	case o.yes:
		return true
	case !in.Terminal:
		in.complain("stdin is not a terminal: give --yes to go ahead, or --dry-run to see only the plan")
		return false
	}
	in.say(question + " [y/N] ")
	answer, _ := bufio.NewReader(in.Stdin).ReadString('\n') // its end is an answer too
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	in.complain("declined; nothing was changed")
	return false
}

// fault notes that a flag is wrong, before the command runs.
func (in *invocation) fault(name, text string) {
	in.faults = append(in.faults, config.Fault{Name: name, Text: text})
}

// A column is a heading and the width that its cells are padded to.
type column struct {
	name  string
	width int
}

// A table is printed line by line, so that it may be long and followed.
type table []column

func (t table) heading() string {
	names := make([]string, len(t))
	for i, c := range t {
		names[i] = c.name
	}
	return t.row(names...)
}

func (t table) row(cells ...string) string {
	var b strings.Builder
	for i, cell := range cells {
		if i < len(cells)-1 {
			fmt.Fprintf(&b, "%-*s  ", t[i].width, texts.Quoted(cell))
		} else {
			b.WriteString(texts.Quoted(cell))
		}
	}
	return b.String() + "\n"
}

// age is how long ago something was, in at most two units.
func age(since, now time.Time) string {
	d := now.Sub(since)
	switch {
	case since.IsZero():
		return ""
	case d < 0:
		return "0s"
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
	const day = 24 * time.Hour
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}
