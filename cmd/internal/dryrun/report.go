package dryrun

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"membersync/cmd/internal/texts"
	"membersync/consumer"
	"membersync/crmapi"
	"membersync/dlq"
	"membersync/mapper"
)

// Options say how a report is written.
type Options struct {
	JSON   bool           // one object a line; otherwise lines to read
	Values bool           // show the values of member fields; otherwise they are masked
	Object *crmapi.Object // the form of updates; nil: the user object
}

// A Report prints the calls and the dead letters that there would be, and counts the outcomes of
// the events. It stands in for the CRM and for the dead-letter topic, and observes the service. It
// is safe for concurrent use.
type Report struct {
	out  io.Writer
	opts Options

	mu       sync.Mutex
	calls    int
	outcomes map[string]int
	reasons  map[string]int
}

// NewReport returns a report that nothing has been added to.
func NewReport(out io.Writer, opts Options) *Report {
	r := &Report{out: out, opts: opts, outcomes: map[string]int{}, reasons: map[string]int{}}
	for _, o := range consumer.Outcomes() {
		r.outcomes[string(o)] = 0
	}
	return r
}

// Modify takes a call for made.
func (*Report) Modify(context.Context, crmapi.Call) (crmapi.Response, error) {
	return crmapi.Response{}, nil
}

// Write prints a dead letter.
func (r *Report) Write(_ context.Context, l dlq.DeadLetter) error {
	r.line(struct {
		Type     string `json:"type"`
		ID       string `json:"id"`
		Reason   string `json:"reason"`
		Stage    string `json:"stage"`
		Error    string `json:"error"`
		EventID  string `json:"event_id,omitempty"`
		Employee string `json:"employee_id,omitempty"`
	}{"dead_letter", l.ID(), string(l.Reason), string(l.Reason.Stage()), l.Error, l.EventID, l.EmployeeID},
		"dead letter  %s  employee %s  event %s  %s", l.ID(), printable(l.EmployeeID), printable(l.EventID), printable(l.Error))
	return nil
}

// Decoded implements [consumer.Observer].
func (*Report) Decoded(mapper.Record, []mapper.Result) {}

// Called prints a call.
func (r *Report) Called(call consumer.CallAttempt) {
	r.mu.Lock()
	r.calls++
	r.mu.Unlock()
	body := r.body(call.Update)
	line := struct {
		Type   string          `json:"type"`
		Member string          `json:"open_user_id"`
		Events int             `json:"events"`
		User   json.RawMessage `json:"user,omitempty"`
		Object json.RawMessage `json:"object_data,omitempty"`
	}{Type: "call", Member: call.Update.OpenUserID, Events: call.Events, User: body}
	if r.opts.Object != nil {
		line.User, line.Object = nil, body
	}
	r.line(line, "call         %s  events %d  %s", printable(call.Update.OpenUserID), call.Events, printable(string(body)))
}

// body is what would be sent, with its values masked unless they are asked for.
func (r *Report) body(u crmapi.Update) []byte {
	switch {
	case r.opts.Values && r.opts.Object != nil:
		return r.opts.Object.AppendJSON(nil, u)
	case r.opts.Values:
		return u.AppendJSON(nil)
	}
	b := append(crmapi.Text(u.OpenUserID).AppendJSON([]byte(`{"openUserId":`)), ',')
	if r.opts.Object != nil {
		b = append(crmapi.Text(u.OpenUserID).AppendJSON([]byte(`{"_id":`)), ',')
	}
	for f := range u.All() {
		name := f.String()
		if r.opts.Object != nil {
			name = r.opts.Object.Name(f)
		}
		b = append(b, strconv.Quote(name)+`:"***",`...)
	}
	b[len(b)-1] = '}'
	return b
}

// Finished counts an outcome.
func (r *Report) Finished(end consumer.EventResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes[string(end.Outcome)]++
	if end.Outcome == consumer.DeadLettered {
		r.reasons[end.Reason]++
	}
}

// Summary prints how many events there are of each outcome and reason, and how many calls there
// would have been.
func (r *Report) Summary() {
	r.mu.Lock()
	calls, outcomes, reasons := r.calls, maps.Clone(r.outcomes), maps.Clone(r.reasons)
	r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "\ndry run: nothing was sent; %s would have been made\n", texts.Plural(calls, "call"))
	for _, o := range consumer.Outcomes() {
		fmt.Fprintf(&b, "  %-14s %d\n", o, outcomes[string(o)])
	}
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(&b, "    %-20s %d\n", reason, reasons[reason])
	}
	r.line(struct {
		Type     string         `json:"type"`
		Calls    int            `json:"calls"`
		Outcomes map[string]int `json:"outcomes"`
		Reasons  map[string]int `json:"reasons"`
	}{"summary", calls, outcomes, reasons}, "%s", strings.TrimSuffix(b.String(), "\n"))
}

// line prints one line in the form that is asked for. An output that fails does not stop the run:
// the summary will fail too.
func (r *Report) line(object any, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.opts.JSON {
		_, _ = fmt.Fprintf(r.out, format+"\n", args...)
		return
	}
	encoder := json.NewEncoder(r.out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(object) //nolint:errchkjson // of texts and numbers
}

// printable quotes a text that could move the cursor of a terminal.
func printable(text string) string {
	if text == "" {
		return "-"
	}
	for _, r := range text {
		if !strconv.IsPrint(r) {
			return strconv.Quote(text)
		}
	}
	return text
}
