package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/wiring"
	"membersync/consumer/preview"
	"membersync/mapper"
)

func mapCommand() command {
	return command{
		name: "map", args: "[FILE|-]", maxArgs: 1,
		summary: "say what a message would do, without doing it",
		details: "The message is a record's value, from a file or from stdin. Values are shown. Nothing is read but\n" +
			"the message, the mapping file and the tables that it names.\n" +
			"Exit status: 1 when every employee in it is rejected, 3 when some are.\n\n" + outputHelp +
			"  --explain\n        tell for each value where it came from and what each step did to it\n" +
			"  --no-value\n        the record is a tombstone: it has no value, and nothing is read\n" +
			"  --key  text\n        the record's key\n" +
			"  --header  name=value\n        a header of the record; may be repeated\n" +
			"  --timestamp  a time in RFC 3339\n        the record's timestamp: what is after it is in the future, and with order: {kind: none} it orders\n        the events (default none)\n" +
			"  --lookup  name:key=value\n        an entry of a lookup that is kept in Redis, which is not asked; may be repeated\n",
		settings: config.DefineMapping, settingsHelp: config.MappingHelp,
		flags: func(in *invocation, flags *flag.FlagSet) {
			outputFlag(in, flags)
			messageFlags(in, flags)
		},
		run: func(ctx context.Context, in *invocation) int { return in.mapMessage(ctx) },
	}
}

var errNoValueAndFile = errors.New("--no-value and a file exclude each other")

// A message is what stands in for the record in addition to its value.
type message struct {
	key     []byte
	headers []mapper.Header
	time    time.Time
	found   map[mapper.Reference]string // what Redis would hold
	explain bool
	noValue bool
}

func messageFlags(in *invocation, flags *flag.FlagSet) {
	flags.Func("key", "", func(text string) error {
		in.message.key = []byte(text)
		return nil
	})
	flags.Func("header", "", func(text string) error {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			in.faults = append(in.faults, config.Fault{Name: "--header", Text: "should be name=value"})
		}
		in.message.headers = append(in.message.headers, mapper.Header{Key: name, Value: []byte(value)})
		return nil
	})
	flags.Func("timestamp", "", func(text string) error {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			in.faults = append(in.faults, config.Fault{Name: "--timestamp", Text: "should be a time such as 2026-11-22T08:00:00Z"})
		}
		in.message.time = at
		return nil
	})
	flags.BoolVar(&in.message.explain, "explain", false, "")
	flags.BoolVar(&in.message.noValue, "no-value", false, "")
	in.message.found = map[mapper.Reference]string{}
	flags.Func("lookup", "", func(text string) error {
		name, entry, found := strings.Cut(text, ":")
		key, value, given := strings.Cut(entry, "=")
		if !found || !given || name == "" {
			in.faults = append(in.faults, config.Fault{Name: "--lookup", Text: "should be name:key=value"})
		}
		in.message.found[mapper.Reference{Lookup: name, Key: key}] = value
		return nil
	})
}

func (in *invocation) mapMessage(ctx context.Context) int {
	cfg, ok := in.configuration(config.LoadMapping)
	if !ok {
		return exitUsage
	}
	live, err := wiring.LoadMapping(cfg, in.ReadFile)
	if err != nil {
		in.complain(err.Error())
		return exitUsage
	}
	mapping := live.Now()
	if in.object, err = wiring.Object(cfg.CRM, live); err != nil {
		in.complain(err.Error())
		return exitUsage
	}
	value, err := in.messageValue()
	if err != nil {
		in.complain(err.Error())
		return exitFailed
	}
	rec := mapper.Record{Time: in.message.time, Key: in.message.key, Value: value, Headers: in.message.headers}
	guard := preview.Guard{Mapper: mapping, Logger: in.logger()}
	results, _ := guard.Map(ctx, rec, func(_ context.Context, refs []mapper.Reference) (map[mapper.Reference]string, error) {
		in.warnOfLookups(refs)
		return in.message.found, nil
	})
	if in.message.explain {
		var explanations []mapper.Explanation
		if fault := guard.Do(ctx, rec, func() { explanations = mapping.Explain(rec, in.message.found) }); fault != nil {
			explanations = []mapper.Explanation{{Result: mapper.Result{Fault: fault}}}
		}
		return in.explain(explanations)
	}
	if err := in.printResults(results); err != nil {
		return in.noStdout(err)
	}
	return mapStatus(results)
}

func (in *invocation) noStdout(err error) int {
	in.complain("stdout: " + err.Error())
	return exitFailed
}

// warnOfLookups names the lookups of Redis that the record needs and that nothing stands in for.
func (in *invocation) warnOfLookups(refs []mapper.Reference) {
	var named []string
	for _, ref := range refs {
		if _, given := in.message.found[ref]; !given && !slices.Contains(named, ref.Lookup) {
			named = append(named, ref.Lookup)
			in.complain("lookup " + ref.Lookup + " is kept in Redis, which map does not ask; --lookup " + ref.Lookup + ":KEY=VALUE stands in for an entry")
		}
	}
}

// logger is that of a command without a configuration of the service.
func (in *invocation) logger() *slog.Logger { return slog.New(slog.NewTextHandler(in.Stderr, nil)) }

// messageValue is the record's value; nil for a tombstone.
func (in *invocation) messageValue() ([]byte, error) {
	if in.message.noValue {
		if len(in.args) > 0 {
			return nil, errNoValueAndFile
		}
		return nil, nil
	}
	return in.read()
}

func (in *invocation) read() ([]byte, error) {
	if len(in.args) == 0 || in.args[0] == "-" {
		return io.ReadAll(in.Stdin)
	}
	return in.ReadFile(in.args[0])
}

func mapStatus(results []mapper.Result) int {
	rejected := 0
	for _, r := range results {
		if r.Fault != nil {
			rejected++
		}
	}
	switch rejected {
	case 0:
		return exitDone
	case len(results):
		return exitFailed
	default:
		return exitPart
	}
}

func (in *invocation) printResults(results []mapper.Result) error {
	if in.output == outputJSON {
		for _, r := range results {
			if _, err := in.Stdout.Write(append(in.resultJSON(r), '\n')); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(in.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "INDEX\tEMPLOYEE\tEVENT\tOUTCOME\tDETAIL")
	for _, r := range results {
		outcome, detail := in.describe(r)
		index := strconv.Itoa(r.Event.Index)
		if r.Fault != nil && r.Fault.Whole {
			index = "-"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", index, printable(r.Event.EmployeeID), printable(r.Event.ID), outcome, printable(detail))
	}
	return w.Flush() // a stdout that failed above fails here too
}

// resultJSON is the json form of a result. With the object API it has object_data beside user.
func (in *invocation) resultJSON(r mapper.Result) []byte {
	line := r.AppendMapJSON(nil)
	if in.object == nil || r.Fault != nil || r.Event.Ignored != "" || r.Event.Update.Len() == 0 {
		return line
	}
	line = append(line[:len(line)-1], `,"object_data":`...)
	return append(in.object.AppendJSON(line, r.Event.Update), '}')
}

func (in *invocation) describe(r mapper.Result) (outcome, detail string) {
	switch {
	case r.Fault != nil:
		return "rejected", r.Fault.Error()
	case r.Event.Ignored != "":
		return "ignored", r.Event.Ignored
	case r.Event.Update.Len() == 0:
		return "unchanged", ""
	case in.object != nil:
		return "update", string(in.object.AppendJSON(nil, r.Event.Update))
	default:
		return "update", string(r.Event.Update.AppendJSON(nil))
	}
}

// printable quotes a text from outside that could move the cursor of a terminal or
// the columns of the table.
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
