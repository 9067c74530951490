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

// An account is the service's observer. It prints a line for each event and counts the outcomes.
type account struct {
	mu      sync.Mutex
	out     io.Writer
	now     func() time.Time
	count   counts
	open    map[place]arrival // arrived and not ended
	refused map[string]string // by member, the response to its latest call
	arrived map[string]bool   // notes of the samples
	ended   map[string]bool
	object  *crmapi.Object // the form of updates; nil: the user object
	news    chan struct{}  // closed when something has happened
}

// An arrival is the content of a record that was read.
type arrival struct {
	note  string
	fault string // why its event is rejected
}

func newAccount(out io.Writer, object *crmapi.Object) *account {
	return &account{
		out: out, object: object, now: time.Now, count: newCounts(), open: map[place]arrival{}, refused: map[string]string{},
		arrived: map[string]bool{}, ended: map[string]bool{}, news: make(chan struct{}),
	}
}

// Decoded prints the events of a record.
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
	a.line(at.String(), results[0].Event.ID, "arrived", said(rec, results[0])+remark(in.note))
	a.changed()
}

// Called prints what was sent and the response.
func (a *account) Called(call consumer.CallAttempt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer, state := answerOf(call.Err)
	a.refused[call.Update.OpenUserID] = answer
	a.count.called(call)
	together := ""
	if call.Events > 1 {
		together = fmt.Sprintf("   [one call for %d events]", call.Events)
	}
	a.line("", "", "  call", a.sent(call.Update)+" -> "+state+together)
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
	why := in.fault
	if why == "" {
		why = a.refused[end.Event.OpenUserID]
	}
	a.line(at.String(), end.Event.ID, verb(end.Outcome), became(end, why))
	a.changed()
}

// title starts a new section.
func (a *account) title(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	say(a.out, "\n%s\n", text)
}

func (a *account) line(at, id, what, text string) {
	say(a.out, "%s  %-6s %-9s %-11s %s\n", a.now().Format(time.TimeOnly), at, shown(id), what, text)
}

func (a *account) changed() {
	close(a.news)
	a.news = make(chan struct{})
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
