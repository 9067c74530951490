package cli

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/cmd/internal/wiring"
	"membersync/consumer/preview"
	"membersync/crmapi"
	"membersync/mapper"
)

// checkMappingOnly is for the author of a mapping, far from any server.
func checkMappingOnly(ctx context.Context, in *invocation) int {
	cfg, ok := in.configuration(config.LoadMapping)
	if !ok {
		return exitUsage
	}
	mapping, err := wiring.LoadMapping(cfg, in.ReadFile)
	if err != nil {
		printBadMapping(in, cfg.Mapping, err)
		return exitUsage
	}
	return checkMapping(ctx, in, cfg.Mapping, mapping.Now())
}

// printBadMapping tells what is wrong with a mapping. Several faults go to stderr, a line for each,
// as those of the configuration do.
func printBadMapping(in *invocation, name string, err error) {
	text := err.Error()
	if n := strings.Count(text, "\n") + 1; n > 1 {
		in.complain(text)
		text = fmt.Sprintf("%s has %d faults, see stderr", name, n)
	}
	printFinding(in, ops.Finding{Check: "mapping", State: ops.FindingFailed, Detail: text})
}

// checkMapping runs the examples of the mapping, and prints a difference for each that fails.
func checkMapping(ctx context.Context, in *invocation, name string, mapping *mapper.Mapping) int {
	var results []mapper.ExampleResult
	guard := preview.Guard{Mapper: mapping, Logger: loggerOf(in)}
	if fault := guard.Do(ctx, mapper.Record{}, func() { results = mapping.RunExamples() }); fault != nil {
		printFinding(in, ops.Finding{Check: "mapping", State: ops.FindingFailed, Detail: name + ", its examples: " + fault.Error()})
		return exitFailed
	}
	var failed []mapper.ExampleResult
	for _, r := range results {
		if len(r.Diffs) > 0 {
			failed = append(failed, r)
		}
	}
	if zoneless := mapping.NeedsZone(); len(zoneless) > 0 && len(failed) == 0 {
		printFinding(in, ops.Finding{Check: "mapping", State: ops.FindingFailed, Detail: fmt.Sprintf("%s, %s: every date fails without a zone; set zone in the file, or MEMBERSYNC_TIMEZONE", name, fieldList(zoneless))})
		return exitFailed
	}
	if len(failed) == 0 {
		printFinding(in, ops.Finding{Check: "mapping", State: ops.FindingOK, Detail: fmt.Sprintf("%s, %s", name, passes(len(results)))})
		return checkSample(ctx, in, mapping)
	}
	printFinding(in, ops.Finding{Check: "mapping", State: ops.FindingFailed, Detail: fmt.Sprintf("%s, %d of its %d examples fail", name, len(failed), len(results))})
	for _, r := range failed {
		printFailedExample(in, name, r)
	}
	return exitFailed
}

func fieldList(fields []crmapi.Field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.String()
	}
	return strings.Join(names, ", ")
}

// coverageOf maps each line that is not empty.
func coverageOf(ctx context.Context, in *invocation, mapping *mapper.Mapping, text []byte) (coverage *mapper.Coverage, records int) {
	coverage = mapping.NewCoverage()
	guard := preview.Guard{Mapper: mapping, Logger: loggerOf(in)}
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		rec := mapper.Record{Offset: int64(records), Value: line, Time: time.Now()}
		if fault := guard.Do(ctx, rec, func() { coverage.Add(rec, nil) }); fault != nil {
			coverage.Reject(*fault)
		}
		records++
	}
	return coverage, records
}

func passes(examples int) string {
	switch examples {
	case 0:
		return "no examples"
	case 1:
		return "1 example passes"
	}
	return strconv.Itoa(examples) + " examples pass"
}

func printFailedExample(in *invocation, name string, r mapper.ExampleResult) {
	where := fmt.Sprintf("%s:%d %s", name, r.Line, r.Name)
	if in.output == outputJSON {
		for _, d := range r.Diffs {
			printFinding(in, ops.Finding{Check: "example", State: ops.FindingFailed, Detail: fmt.Sprintf("%s: employee %d: %s is %s, want %s", where, d.Index, d.What, orNone(d.Got), orNone(d.Want))})
		}
		return
	}
	printFinding(in, ops.Finding{Check: "example", State: ops.FindingFailed, Detail: where + " (- wanted, + came)"})
	for _, d := range r.Diffs {
		in.print(fmt.Sprintf("  - employee %d  %s  %s\n", d.Index, d.What, texts.Quoted(orNone(d.Want))))
		in.print(fmt.Sprintf("  + employee %d  %s  %s\n", d.Index, d.What, texts.Quoted(orNone(d.Got))))
	}
}

func orNone(text string) string {
	if text == "" {
		return "(none)"
	}
	return text
}
