package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/dlq"
)

// results prints the result of each item, and counts.
type results struct {
	in    *invocation
	index *dlq.Index
	good  int
	bad   int
	bar   progress
}

func (in *invocation) newResults(x *dlq.Index) *results {
	r := &results{in: in, index: x, bar: in.newProgress(x.Selected())}
	if in.output == outputTable {
		in.print(resultTable().heading())
	}
	return r
}

func resultTable() table { return table{{"ID", 14}, {"RESULT", 16}, {"DETAIL", 0}} }

func (r *results) print(one ops.ItemResult) {
	if one.Failed {
		r.bad++
	} else {
		r.good++
	}
	r.bar.clear()
	if r.in.output == outputTable {
		r.in.print(resultTable().row(r.index.ShortID(one.ID), one.Result, one.Detail))
	} else {
		_ = r.in.printJSON(one)
	}
	r.bar.show(r.good + r.bad)
}

// showStatus returns the exit status for the items.
func (r *results) status() int {
	r.bar.clear()
	switch {
	case r.bad == 0:
		return exitDone
	case r.good == 0:
		return exitFailed
	default:
		return exitPart
	}
}

// A progress is a line on the terminal that says how far a long command is, and how long the rest
// takes.
type progress struct {
	in    *invocation
	on    bool
	total int
	began time.Time
	shown time.Time
	width int
}

const (
	progressAfter = 2 * time.Second
	progressEvery = 250 * time.Millisecond
	progressBar   = 30
)

func (in *invocation) newProgress(total int) progress {
	return progress{in: in, on: in.Terminal, total: total, began: time.Now()}
}

func (p *progress) show(done int) {
	now := time.Now()
	if !p.on || now.Sub(p.began) < progressAfter || now.Sub(p.shown) < progressEvery {
		return
	}
	line := progressLine(done, p.total, now.Sub(p.began))
	p.write(line + strings.Repeat(" ", max(p.width-len(line), 0)))
	p.shown, p.width = now, len(line)
}

// write begins at the start of the line. The text is this program's own, so it needs no escapes.
func (p *progress) write(text string) { _, _ = io.WriteString(p.in.bare, "\r"+text) }

func progressLine(done, total int, took time.Duration) string {
	if total <= 0 || done <= 0 {
		return fmt.Sprintf("%d done", done)
	}
	filled := min(progressBar*done/total, progressBar)
	left := time.Duration(float64(took) / float64(done) * float64(max(total-done, 0))).Round(time.Second)
	return fmt.Sprintf("[%s%s] %d of %d, %s to go", strings.Repeat("#", filled), strings.Repeat(".", progressBar-filled), done, total, left)
}

// clear takes the line away, so that something else can be printed.
func (p *progress) clear() {
	if p.width > 0 {
		p.write(strings.Repeat(" ", p.width) + "\r")
		p.width = 0
		p.shown = time.Time{}
	}
}
