package cli

import (
	"fmt"
	"strconv"
	"strings"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/wiring"
	"membersync/mapper"
)

// checkMappingOnly is for whoever writes a mapping, far from any server.
func (in *invocation) checkMappingOnly() int {
	cfg, ok := in.configuration(config.LoadMapping)
	if !ok {
		return exitUsage
	}
	mapping, err := wiring.LoadMapping(cfg, in.ReadFile)
	if err != nil {
		in.badMapping(cfg.Mapping, err)
		return exitUsage
	}
	return in.checkMapping(cfg.Mapping, mapping.Now())
}

// badMapping tells what is wrong with a mapping. Several faults go to stderr, a line for each, as those of the
// configuration do.
func (in *invocation) badMapping(name string, err error) {
	text := err.Error()
	if n := strings.Count(text, "\n") + 1; n > 1 {
		in.complain(text)
		text = fmt.Sprintf("%s has %d faults, see stderr", name, n)
	}
	in.found(finding{"mapping", "failed", text})
}

// checkMapping runs the examples of the mapping, and prints a difference for each that fails.
func (in *invocation) checkMapping(name string, mapping *mapper.Mapping) int {
	results := mapping.RunExamples()
	var failed []mapper.ExampleResult
	for _, r := range results {
		if len(r.Diffs) > 0 {
			failed = append(failed, r)
		}
	}
	if len(failed) == 0 {
		in.found(finding{"mapping", "ok", fmt.Sprintf("%s, %s", name, passes(len(results)))})
		return exitDone
	}
	in.found(finding{"mapping", "failed", fmt.Sprintf("%s, %d of its %d examples fail", name, len(failed), len(results))})
	for _, r := range failed {
		in.printFailedExample(name, r)
	}
	return exitFailed
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

func (in *invocation) printFailedExample(name string, r mapper.ExampleResult) {
	where := fmt.Sprintf("%s:%d %s", name, r.Line, r.Name)
	if in.output == outputJSON {
		for _, d := range r.Diffs {
			in.found(finding{"example", "failed", fmt.Sprintf("%s: employee %d: %s is %s, want %s", where, d.Index, d.What, orNone(d.Got), orNone(d.Want))})
		}
		return
	}
	in.found(finding{"example", "failed", where + " (- wanted, + came)"})
	for _, d := range r.Diffs {
		in.print(fmt.Sprintf("  - employee %d  %s  %s\n", d.Index, d.What, printable(orNone(d.Want))))
		in.print(fmt.Sprintf("  + employee %d  %s  %s\n", d.Index, d.What, printable(orNone(d.Got))))
	}
}

func orNone(text string) string {
	if text == "" {
		return "(none)"
	}
	return text
}
