package cli

import (
	"context"
	"fmt"

	"membersync/cmd/internal/ops"
	"membersync/dlq"
)

// The json form of state rebuild.
type rebuiltJSON struct {
	Action       dlq.Action `json:"action"`
	Result       string     `json:"result"`        // done, or planned in a dry run
	Records      int64      `json:"records"`       // offsets to read
	Restored     int64      `json:"restored"`      // events
	DeadLettered int64      `json:"dead_lettered"` // of these, dead letters
	Expired      int64      `json:"expired"`       // redrives whose dead letter or request retention has removed: skipped
	Invalid      int64      `json:"invalid"`       // records of the redrive topic that are not valid redrives: skipped
}

func rebuildState(ctx context.Context, in *invocation, d *ops.Session, o order) int {
	if in.refuse(nil) {
		return exitUsage
	}
	run, err := d.PlanRebuild(ctx)
	if err != nil {
		return in.failed(ctx, err)
	}
	report := rebuiltJSON{Action: dlq.ActionStateRebuild, Result: dlq.ResultDone, Records: run.Records}
	plan := fmt.Sprintf("read %d offsets of source and redrive topic below those of group %s, and restore versions and done marks; no call",
		run.Records, d.Target().Group)
	if !in.plan(o, plan, "Rebuild?") {
		return exitFailed
	}
	if o.dryRun {
		report.Result = "planned"
		return in.printAction(report, "would: "+plan)
	}
	bar := in.newProgress(int(run.Records))
	result, err := run.Run(ctx, in.who(o), in.warnOf, bar.show)
	bar.clear()
	if err != nil {
		return in.failed(ctx, err)
	}
	report.Restored, report.DeadLettered, report.Expired, report.Invalid = result.Restored, result.DeadLettered, result.Expired, result.Invalid
	text := fmt.Sprintf("rebuilt: %d events restored, %d of them dead letters", result.Restored, result.DeadLettered)
	if result.Expired+result.Invalid > 0 {
		text += fmt.Sprintf("; skipped redrives: %d expired, %d invalid", result.Expired, result.Invalid)
	}
	return in.printAction(report, text)
}
