package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"membersync/consumer"
	"membersync/crmapi"
	"membersync/mapper"
)

// A place is the place of a record in the source topic.
type place struct {
	partition int
	offset    int64
}

func (p place) String() string { return fmt.Sprintf("%d:%d", p.partition, p.offset) }

// An account is the service's observer. It prints one line for each event and counts the outcomes.
// When it is verbose, it also prints a line for each record that arrives and for each call.
type account struct {
	mu      sync.Mutex
	out     io.Writer
	now     func() time.Time
	verbose bool
	count   counts
	printed int                  // events in the latest summary
	open    map[place]arrival    // arrived and not ended
	calls   map[string]callState // by member, the latest calls
	arrived map[string]bool      // notes of the samples
	ended   map[string]bool
	object  *crmapi.Object // the form of updates; nil: the user object
	pause   string         // its causes, as printed last; empty: there is none
	news    chan struct{}  // closed when something has happened
}

// An arrival is the content of a record that was read.
type arrival struct {
	note  string
	fault string // why its event is rejected
}

// A callState is a call for a member, with its repetitions.
type callState struct {
	events  int    // in the call
	failed  string // the response to the latest attempt that failed
	refused string // the final response, if it is a refusal
	isOver  bool
}

func newAccount(out io.Writer, object *crmapi.Object, verbose bool) *account {
	return &account{
		out: out, object: object, verbose: verbose, now: time.Now, count: newCounts(),
		open: map[place]arrival{}, calls: map[string]callState{},
		arrived: map[string]bool{}, ended: map[string]bool{}, news: make(chan struct{}),
	}
}

// Decoded notes the events of a record.
func (a *account) Decoded(rec mapper.Record, results []mapper.Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := place{rec.Partition, rec.Offset}
	in := arrival{note: noteOf(rec)}
	if fault := results[0].Fault; fault != nil && fault.Reason == mapper.Oversized {
		in.note = noteOversized // such a record is not read, and neither are its headers
	}
	for _, r := range results {
		if r.Fault != nil {
			in.fault = strings.TrimPrefix(r.Fault.Error(), string(r.Fault.Reason)+": ")
		}
	}
	a.open[at] = in
	a.arrived[in.note] = true
	if a.verbose {
		a.line(at.String(), results[0].Event.EmployeeID, "arrived", content(rec, results[0])+remark(in.note))
	}
	a.changed()
}

// Called notes what was sent and the response.
func (a *account) Called(call consumer.CallAttempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := call.Update.OpenUserID
	latest := a.calls[id]
	if latest.isOver {
		latest = callState{}
	}
	latest.events = call.Events
	answer, isFinal := answerOf(call.Err)
	state := "ok"
	switch {
	case call.Err == nil:
		latest.isOver = true
	case isFinal:
		latest.isOver, latest.refused = true, answer
		state = "refused: " + answer
	default:
		latest.failed = answer
		state = "failed: " + answer
	}
	a.calls[id] = latest
	a.count.called(call)
	if a.verbose {
		a.line("", "", "  call", a.sent(call.Update)+" -> "+state)
	}
}

// sent returns the fields of an update as they are sent.
func (a *account) sent(u crmapi.Update) string {
	if a.object != nil {
		return string(a.object.AppendJSON(nil, u))
	}
	return string(u.AppendJSON(nil))
}

// Finished prints the outcome of an event.
func (a *account) Finished(end consumer.EventResult) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := place{end.Partition, end.Offset}
	in := a.open[at]
	delete(a.open, at)
	a.ended[in.note] = true
	a.count.ended(end)
	details := details(end, in.fault, a.calls[end.Event.OpenUserID])
	a.line(at.String(), end.Event.EmployeeID, words(string(end.Outcome)), details+remark(in.note))
	a.changed()
}

// paused prints a line when a pause of the calls begins, has other causes, or ends.
func (a *account) paused(causes string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch causes {
	case a.pause:
		return
	case "":
		a.line("", "", "calls resumed", "events that waited are processed")
	default:
		a.line("", "", "calls paused", shown(causes)+": events wait, and none is lost; see membersync status")
	}
	a.pause = causes
}

// summary prints the counts, unless nothing has ended since the latest summary.
func (a *account) summary() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.printed == 0 || a.count.events() != a.printed {
		a.count.print(a.out)
		a.printed = a.count.events()
	}
}

// title starts a new section.
func (a *account) title(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	say(a.out, "\n%s\n", text)
}

func (a *account) line(at, employee, what, text string) {
	say(a.out, lineForm, a.now().Format(time.TimeOnly), at, shown(employee), what, text)
}

func (a *account) changed() {
	close(a.news)
	a.news = make(chan struct{})
}

// The columns of a line: time, record, employee, outcome, details.
const lineForm = "%-8s  %-6s  %-8s  %-13s  %s\n"

// legend explains the lines. Each outcome is explained once.
func legend(out io.Writer) {
	say(out, "One line for each event, with its outcome:\n\n")
	for _, o := range consumer.Outcomes() {
		say(out, "  %-13s  %s\n", words(string(o)), meaning(o))
	}
	say(out, "\n"+lineForm, "time", "record", "employee", "outcome", "what was sent, or why not   [what the sample is]")
}

// wait waits until all these samples have arrived, or have ended.
func (a *account) wait(ctx context.Context, seen func(*account) map[string]bool, notes []string) error {
	for {
		a.mu.Lock()
		news, missing := a.news, ""
		for _, note := range notes {
			if !seen(a)[note] {
				missing = note
			}
		}
		a.mu.Unlock()
		if missing == "" {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %q: %w", missing, context.Cause(ctx))
		}
	}
}

func arrivals(a *account) map[string]bool { return a.arrived }

func endings(a *account) map[string]bool { return a.ended }
