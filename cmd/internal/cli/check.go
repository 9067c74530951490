package cli

import (
	"context"
	"fmt"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/interrupt"
	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/cmd/internal/wiring"
)

func runChecks(ctx context.Context, in *invocation) int {
	if in.mappingOnly {
		return checkMappingOnly(ctx, in)
	}
	cfg, ok := in.configuration(config.Load)
	if !ok {
		if len(in.faults) == 0 {
			printSkipped(in, "configuration")
		}
		return exitUsage
	}
	printFinding(in, ops.Finding{Check: "configuration", State: ops.FindingOK, Detail: "complete"})
	mapping, err := wiring.LoadMapping(cfg, in.ReadFile)
	if err != nil {
		printBadMapping(in, cfg.Mapping, err)
		printSkipped(in, "mapping")
		return exitUsage
	}
	status := checkMapping(ctx, in, cfg.Mapping, mapping.Now())
	parts, err := in.build(cfg, false)
	if err != nil {
		in.complain(err.Error())
		printSkipped(in, "mapping")
		return exitUsage
	}
	defer parts.Close()
	if reached := reachServers(ctx, in, cfg, parts); reached != exitDone {
		status = reached
	}
	return status
}

// reachServers makes the checks that need others.
func reachServers(ctx context.Context, in *invocation, cfg config.Config, parts *wiring.Parts) int {
	status := exitDone
	ops.CheckServers(ctx, cfg, parts, func(f ops.Finding) {
		if f.State == ops.FindingFailed {
			status = exitFailed
		}
		printFinding(in, f)
	})
	if interrupt.Ended(ctx) {
		return exitInterrupted
	}
	return status
}

// printSkipped prints the line of a check that failed before it began, and those after it.
func printSkipped(in *invocation, failed string) {
	after := false
	for _, name := range []string{"configuration", "mapping", "kafka", "redis", "crm"} {
		switch {
		case after:
			printFinding(in, ops.Finding{Check: name, State: ops.FindingSkipped, Detail: "because of what failed before"})
		case name == failed && failed == "configuration":
			printFinding(in, ops.Finding{Check: name, State: ops.FindingFailed, Detail: "see stderr"})
		}
		after = after || name == failed
	}
}

func printFinding(in *invocation, f ops.Finding) {
	if in.output == outputJSON {
		_ = in.printJSON(f)
		return
	}
	in.print(fmt.Sprintf("%-13s  %-7s  %s\n", f.Check, f.State, texts.Quoted(f.Detail)))
}
