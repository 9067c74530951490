package cli

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
)

// defaultPager ends by itself if everything fits on the screen, shows colors, and leaves what it
// showed on the screen.
const defaultPager = "less -FRX"

var errPagerClosed = errors.New("the pager was closed")

// runShown runs the command with its results on stdout, in colors and through a pager where that
// is wanted.
func (in *invocation) runShown(ctx context.Context) int {
	out := in.plain
	var paged *pagedOutput
	if command := pagerOf(in); command != "" {
		var stop context.CancelCauseFunc
		ctx, stop = context.WithCancelCause(ctx)
		defer stop(nil)
		paged = &pagedOutput{
			plain: in.plain,
			start: func() (io.WriteCloser, error) { return in.StartPager(command) },
			gone:  func() { stop(errPagerClosed) },
		}
		out = paged
	}
	shown := *in.app
	shown.Stdout = escaping{out}
	if hasColors(in) {
		shown.Stdout = coloring{out}
	}
	in.app = &shown
	status := in.command.run(ctx, in)
	if paged == nil {
		return status
	}
	paged.close()
	if errors.Is(context.Cause(ctx), errPagerClosed) {
		return exitDone // the user has seen enough
	}
	return status
}

// pager is the command of the pager, or empty if none is to be used.
func pagerOf(in *invocation) string {
	if in.StartPager == nil || !in.StdoutTerminal || in.output != outputTable || in.command.pages == nil || !in.command.pages() {
		return ""
	}
	command, isSet := in.variable("PAGER")
	switch command = strings.TrimSpace(command); {
	case !isSet:
		return defaultPager
	case command == "cat":
		return ""
	default:
		return command
	}
}

// variable returns an environment variable. Of one that is set twice the first counts.
func (a *app) variable(name string) (value string, isSet bool) {
	for _, v := range a.Environ {
		if key, value, _ := strings.Cut(v, "="); key == name {
			return value, true
		}
	}
	return "", false
}

// A pagedOutput starts the pager at the first write, so that what fails before it prints does not
// showDeadLetter an empty pager. Without a pager it writes to plain. It is not safe for concurrent
// use.
type pagedOutput struct {
	plain io.Writer
	start func() (io.WriteCloser, error)
	gone  func() // called when the user has closed the pager

	to     io.Writer // nil: not started
	pager  io.Closer // nil: there is none
	closed bool
}

// Write implements [io.Writer]. It fails only if plain does.
func (p *pagedOutput) Write(text []byte) (int, error) {
	if p.to == nil {
		p.to = p.plain
		if pager, err := p.start(); err == nil {
			p.to, p.pager = pager, pager
		}
	}
	if p.closed {
		return len(text), nil
	}
	n, err := p.to.Write(text)
	if err != nil && p.pager != nil {
		p.closed = true
		p.gone()
		return len(text), nil
	}
	return n, err
}

// close waits until the user has closed the pager.
func (p *pagedOutput) close() {
	if p.pager != nil {
		_ = p.pager.Close() // its exit status says nothing of the command's
	}
}

// hasColors reports whether states are shown in colors (https://no-color.org).
func hasColors(in *invocation) bool {
	noColor, _ := in.variable("NO_COLOR")
	kind, _ := in.variable("TERM")
	return in.command.states && in.StdoutTerminal && in.output == outputTable && !in.noColor && noColor == "" && kind != "dumb"
}

// A coloring is an [escaping] writer that shows the states in the second column in colors.
type coloring struct{ to io.Writer }

// Write implements [io.Writer]. A line must not be split over two writes.
func (c coloring) Write(p []byte) (int, error) {
	if _, err := c.to.Write(colored(escapeUnsafe(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

func colored(text []byte) []byte {
	colors := map[string]string{"open": "33", "redriving": "36", "applied": "32", "ok": "32", "failed": "31"}
	state := regexp.MustCompile(`(?m)^\S+ +(open|redriving|applied|ok|failed)(?: |$)`)
	var all []byte
	from := 0
	for _, at := range state.FindAllSubmatchIndex(text, -1) {
		word := text[at[2]:at[3]]
		all = append(all, text[from:at[2]]...)
		all = append(all, "\x1b["+colors[string(word)]+"m"+string(word)+"\x1b[0m"...)
		from = at[3]
	}
	return append(all, text[from:]...)
}
