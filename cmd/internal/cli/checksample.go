package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/mapper"
)

// reasonsShown is how many reasons of rejected records a check of a sample lists.
const reasonsShown = 5

// checkSample maps the records of a sample. It lists why records are rejected, and the paths at
// which no record has anything. Lookups in Redis are not asked, so that their fields can be
// rejected here.
func checkSample(ctx context.Context, in *invocation, mapping *mapper.Mapping) int {
	if in.sample == "" {
		return exitDone
	}
	in.args = []string{in.sample}
	text, err := readInput(in)
	if err != nil {
		return failedSample(in, err.Error())
	}
	if spansLines(text) {
		return failedSample(in, in.sample+" holds a JSON value that goes over several lines; each line must be one value, "+
			"as jq -c . writes it (jq -c '.[]' for the entries of a list)")
	}
	coverage, records := coverageOf(ctx, in, mapping, text)
	if records == 0 {
		return failedSample(in, in.sample+" holds no records")
	}
	rejected, all := coverage.Employees["rejected"], 0
	for _, n := range coverage.Employees {
		all += n
	}
	status := printCounts(in, coverage, records, rejected == all && coverage.Unasked < rejected)
	return max(status, printSilent(in, coverage.Silent()))
}

func failedSample(in *invocation, detail string) int {
	printFinding(in, ops.Finding{Check: "sample", State: ops.FindingFailed, Detail: detail})
	return exitFailed
}

// spansLines reports whether a text is JSON values, one of which goes over several lines.
func spansLines(text []byte) bool {
	for line := range bytes.Lines(text) {
		if len(bytes.TrimSpace(line)) > 0 && !json.Valid(line) {
			return isJSON(text)
		}
	}
	return false
}

func isJSON(text []byte) bool {
	values := json.NewDecoder(bytes.NewReader(text))
	for {
		var value json.RawMessage
		if err := values.Decode(&value); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// printCounts prints how the records end, and the most frequent reasons of those that are rejected.
func printCounts(in *invocation, coverage *mapper.Coverage, records int, fails bool) int {
	status, state := exitDone, ops.FindingOK
	if fails {
		status, state = exitFailed, ops.FindingFailed
	}
	count := coverage.Employees
	detail := fmt.Sprintf("%s, %d update, %d unchanged, %d ignored, %d rejected",
		texts.Plural(records, "record"), count["update"], count["unchanged"], count["ignored"], count["rejected"])
	if coverage.Unasked > 0 {
		detail += fmt.Sprintf("; %d of these need lookups in Redis, which is not asked here", coverage.Unasked)
	}
	printFinding(in, ops.Finding{Check: "sample", State: state, Detail: detail})
	faults := slices.SortedFunc(maps.Keys(coverage.Faults), func(a, b mapper.Fault) int {
		return cmp.Or(cmp.Compare(coverage.Faults[b], coverage.Faults[a]), cmp.Compare(a.Error(), b.Error()))
	})
	for i, fault := range faults {
		detail := fmt.Sprintf("%d of %d: %s", coverage.Faults[fault], count["rejected"], fault.Error())
		if i == reasonsShown {
			detail = "and " + texts.Plural(len(faults)-i, "more reason")
		}
		printFinding(in, ops.Finding{Check: "rejected", State: state, Detail: detail})
		if i == reasonsShown {
			break
		}
	}
	return status
}

// printSilent prints the paths at which no record has anything, and fails for a field without
// another one.
func printSilent(in *invocation, silent []mapper.SilentPath) int {
	status := exitDone
	for _, s := range silent {
		state, more := ops.FindingOK, "; another path of the field has values"
		if s.Alone {
			status, state, more = exitFailed, ops.FindingFailed, ""
		}
		printFinding(in, ops.Finding{Check: "path", State: state, Detail: fmt.Sprintf("%s: nothing at %s in any record%s", s.Field, s.Path, more)})
	}
	return status
}
