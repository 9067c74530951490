package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/texts"
	"membersync/cmd/internal/wiring"
	"membersync/consumer/preview"
	"membersync/mapper"
)

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

func mapMessage(ctx context.Context, in *invocation) int {
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
	if refuseLookups(in, cfg.Mapping, mapping) {
		return exitUsage
	}
	value, err := messageValue(in)
	if err != nil {
		in.complain(err.Error())
		return exitFailed
	}
	rec := mapper.Record{Time: in.message.time, Key: in.message.key, Value: value, Headers: in.message.headers}
	guard := preview.Guard{Mapper: mapping, Logger: loggerOf(in)}
	results, _ := guard.Map(ctx, rec, func(_ context.Context, refs []mapper.Reference) (map[mapper.Reference]string, error) {
		warnOfLookups(in, refs)
		return in.message.found, nil
	})
	if in.message.explain {
		var explanations []mapper.Explanation
		if fault := guard.Do(ctx, rec, func() { explanations = mapping.Explain(rec, in.message.found) }); fault != nil {
			explanations = []mapper.Explanation{{Result: mapper.Result{Fault: fault}}}
		}
		return printExplanations(in, explanations)
	}
	if err := printMapped(in, results); err != nil {
		return noStdout(in, err)
	}
	return mapStatus(results)
}

func noStdout(in *invocation, err error) int {
	in.complain("stdout: " + err.Error())
	return exitFailed
}

// refuseLookups complains of entries for lookups that are not in Redis, which nothing would read.
func refuseLookups(in *invocation, name string, mapping *mapper.Mapping) (refused bool) {
	var inRedis []string
	for _, l := range mapping.Lookups() {
		if l.Redis != "" {
			inRedis = append(inRedis, l.Name)
		}
	}
	given := map[string]bool{}
	for ref := range in.message.found {
		given[ref.Lookup] = true
	}
	for _, lookup := range slices.Sorted(maps.Keys(given)) {
		if slices.Contains(inRedis, lookup) {
			continue
		}
		has := "it has none there"
		if len(inRedis) > 0 {
			has = "those there: " + strings.Join(inRedis, ", ") + flags.DidYouMean(lookup, slices.Values(inRedis))
		}
		in.complain("--lookup: mapping " + name + " has no lookup " + strconv.Quote(lookup) + " in Redis; " + has)
		refused = true
	}
	return refused
}

// warnOfLookups names the lookups of Redis that the record needs and that nothing stands in for.
func warnOfLookups(in *invocation, refs []mapper.Reference) {
	var named []string
	for _, ref := range refs {
		if _, given := in.message.found[ref]; !given && !slices.Contains(named, ref.Lookup) {
			named = append(named, ref.Lookup)
			in.complain("lookup " + ref.Lookup + " is kept in Redis, which map does not ask; --lookup " + ref.Lookup + ":KEY=VALUE stands in for an entry")
		}
	}
}

// logger is that of a command without a configuration of the service.
func loggerOf(in *invocation) *slog.Logger { return slog.New(slog.NewTextHandler(in.Stderr, nil)) }

// messageValue is the record's value; nil for a tombstone.
func messageValue(in *invocation) ([]byte, error) {
	if in.message.noValue {
		if len(in.args) > 0 {
			return nil, errNoValueAndFile
		}
		return nil, nil
	}
	return readInput(in)
}

func readInput(in *invocation) ([]byte, error) {
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

func printMapped(in *invocation, results []mapper.Result) error {
	if in.output == outputJSON {
		for _, r := range results {
			if _, err := in.Stdout.Write(append(mappedJSON(in, r), '\n')); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(in.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "INDEX\tEMPLOYEE\tEVENT\tOUTCOME\tDETAIL")
	for _, r := range results {
		outcome, detail := describeMapped(in, r)
		index := strconv.Itoa(r.Event.Index)
		if r.Fault != nil && r.Fault.Whole {
			index = "-"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", index, texts.Quoted(r.Event.EmployeeID), texts.Quoted(r.Event.ID), outcome, texts.Quoted(detail))
	}
	return w.Flush() // a stdout that failed above fails here too
}

// mappedJSON is the json form of a result. With the object API it has object_data in addition to
// user.
func mappedJSON(in *invocation, r mapper.Result) []byte {
	line := r.AppendMapJSON(nil)
	if in.object == nil || r.Fault != nil || r.Event.Ignored != "" || r.Event.Update.Len() == 0 {
		return line
	}
	line = append(line[:len(line)-1], `,"object_data":`...)
	return append(in.object.AppendJSON(line, r.Event.Update), '}')
}

func describeMapped(in *invocation, r mapper.Result) (outcome, detail string) {
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
