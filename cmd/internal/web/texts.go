package web

import (
	"fmt"
	"sync"
)

// table holds the texts of the pages by key. A translation is another table with the same keys.
var table = sync.OnceValue(english) //nolint:gochecknoglobals // built once, and never changed

// text returns a text with its parameters. An unknown key stands for itself; a test finds it.
func text(key string, parameters ...any) string {
	found, ok := table()[key]
	switch {
	case !ok:
		return key
	case len(parameters) == 0:
		return found
	}
	return fmt.Sprintf(found, parameters...)
}

func english() map[string]string {
	return map[string]string{
		"actor.bearer": "token", "actor.unverified": "(unverified)", "role.viewer": "viewer", "skip": "Skip to content",
		"all": "all", "cancel": "Cancel", "copy": "Copy", "yes": "yes", "no": "no", "never": "never", "note": "Note",
		"note.recorded": "Note (recorded in the audit topic)", "logout": "Log out",
		"time.unknown": "unknown", "time.ago": "%s ago",

		"nav.label": "Main", "nav.overview": "Overview", "nav.deadletters": "Dead letters", "nav.employees": "Employees",
		"nav.replays": "Replays", "nav.mapping": "Mapping", "nav.audit": "Audit",

		"login.title": "Log in", "login.name": "Your name", "login.name.note": "Recorded with what you do, as unverified.",
		"login.token": "Token", "login.button": "Log in", "login.wrong": "Wrong token.", "login.name.missing": "Give your name.",
		"login.often": "Too many failed logins. Try again in a minute.",

		"error.title": "This did not work", "error.back": "Back to the overview", "error.notfound": "This page or dead letter was not found.",
		"error.viewer": "Viewers may not change or reveal anything. Log in with the operators' token.",
		"error.host":   "unknown host: the pages are served at localhost only", "error.origin": "refused: the request comes from another site",
		"error.csrf": "The form has expired. Load the page again.", "error.login": "log in first, or send a valid token",

		"input.duration": "The time must be a duration such as 30m or 2h.", "input.time": "A time must be RFC 3339, or how long ago: 2h, 3d, 3d4h.",
		"input.position": "A range begins and ends at a time (2h, 3d, RFC 3339), at earliest or latest, or at partition:offset.",

		"topics.problem": "The topics cannot be read since %s; this page shows what was read before: %v",

		"overview.title": "Overview", "overview.status": "State of the service", "overview.updated": "Updated", "overview.refresh": "refresh",
		"overview.paused": "paused", "overview.seconds": "%d s", "overview.groups": "See dead letters", "overview.causes": "All causes",
		"overview.open": "Open dead letters", "overview.open.none": "No dead letter is open.",
		"overview.actions": "Last actions", "overview.actions.none": "The audit topic names none.",
		"overview.instances": "Instances", "overview.instances.none": "No instance has reported in the last 30 s.",
		"overview.replays": "Replays that run: %d.", "overview.redriving": "Redriven, without a result yet: %d.", "state.calls": "calls",
		"card.lag": "Lag (records)", "card.lag.note": "oldest %s", "card.current": "Current", "card.current.now": "now", "card.current.note": "nothing waits",
		"card.current.in": "UTC, in %s", "card.current.behind": "nothing is finished now", "card.open": "Open dead letters", "card.open.none": "none",
		"card.open.note": "%s, oldest %s", "card.limit": "Rate limit used", "card.unknown": "unknown", "card.limit.note": "in the last minute",
		"card.instances": "Instances", "card.held": "held: %s",
		"chart.lag": "Lag", "chart.events": "Events per second", "chart.failures": "New dead letters", "chart.none": "collecting",
		"chart.label": "%s: now %[3]s, at most %[4]s, at first %[2]s", "chart.day": "Failures in the last 24 hours: %s, at most %s in an hour, %s in this hour",
		"pause.title": "Pause calls", "pause.for": "For", "pause.button": "Pause", "pause.done": "Calls are paused. Instances stop within 2 s.",
		"resume.button": "Resume", "resume.release": "Dead-letter held events", "resume.done": "Calls are resumed.",

		"deadletters.title": "Dead letters", "deadletters.count": "%s selected", "deadletters.open": "%s open", "deadletters.reading": "Still reading the dead-letter topic: %s so far.",
		"deadletters.leftout": "The oldest %s are not shown here; membersync dlq list has them.", "deadletters.cause": "Cause",
		"deadletters.none": "Nothing matches.", "deadletters.range": "%s to %s of %s, the latest first",
		"deadletters.caption": "Open ones, a row for each cause: reason, code, and error without its variable parts",
		"search.words":        "reason: code: employee: since: until: state: text:, and words of the error. Without state:, open ones.",
		"overview.job":        "job %s",
		"search.label":        "Search", "search.button": "Search", "search.clear": "All causes", "export.button": "Export (masked)",
		"search.reason": "Unknown reason %q.", "search.state": "Unknown state %q: want open, redriving, applied, superseded, discarded or all.",
		"search.token":  "Unknown token %q: want reason, code, employee, since, until, state or text.",
		"select.legend": "Select", "select.some": "the marked ones", "select.all": "all %s that match", "select.none": "No dead letter is selected.",
		"redrive.button": "Redrive…", "discard.button": "Discard…", "page.earlier": "Newer", "page.more": "Older",

		"plan.title.redrive": "Plan of a redrive", "plan.title.discard": "Plan of a discard",
		"plan.heading.redrive": "Redrive: plan", "plan.heading.discard": "Discard: plan", "plan.target": "Target", "plan.count": "Dead letters",
		"plan.all": "all that match", "plan.calls": "Calls", "plan.calls.most": "at most %s", "plan.duration": "%s under the limit, after live traffic",
		"plan.newer":        "Newer values",
		"plan.newer.counts": "none: %d, of some fields: %d, of all fields: %d, unknown: %d; states no fields or would fail again: %d",
		"plan.newer.many":   "not looked up for so many", "plan.edited": "Value", "plan.edited.yes": "edited; the original stays in the dead-letter topic",
		"plan.canary": "Canary", "plan.canary.note": "The first so many alone. The rest follows only if none of them fails again. Empty: all at once.",
		"plan.rate": "Redrives per second (empty: no limit of its own)", "plan.type": "Type the count, %d, to confirm",
		"plan.button.redrive": "Redrive", "plan.button.discard": "Discard", "plan.each": "Each of them",
		"plan.changed": "The selection has changed: it has %s dead letters now. Look at the plan again.", "plan.typed": "Type the count, %d, to confirm.",
		"plan.note": "A discard needs a note.", "plan.number": "Canary and rate are whole numbers from 0.",

		"job.title.redrive": "Redrive", "job.title.discard": "Discard", "job.latest": "Latest jobs", "job.line": "%s of %s",
		"job.state.waiting": "waits for an earlier job", "job.state.running": "running", "job.state.done": "done", "job.state.failed": "failed",
		"job.state.canceled": "canceled", "job.state.interrupted": "interrupted", "job.state.incomplete": "never started", "job.state.unknown": "unknown",
		"job.resume": "Resume", "job.end": "End it", "job.ended": "The job is ended. Nothing more of it is sent.", "job.total": "%s dead letters.",
		"job.elsewhere":     "Another process runs it and has its results.",
		"job.resumedby":     "resumed by %s %s",
		"job.unknown":       "Redis does not respond, so it is not known whether a process runs this job.",
		"job.interrupted":   "The process ended before the job did. %s of %s have no request yet; Resume sends these, and nothing twice.",
		"job.incomplete":    "The process ended before all of the job was recorded. Nothing of it was done. End it, and select the dead letters again.",
		"job.interruptions": "Jobs that were interrupted: %d",
		"job.progress":      "Results: %s of %s", "job.cancel": "Cancel", "job.results": "Results, the latest first",
		"job.canceling": "The job is being canceled. What was sent is processed nevertheless.", "job.full": "Too many jobs wait. Try again later.",
		"job.outstanding": "%s have no result here. Redrive them again to resume: nothing is sent twice.",
		"job.new":         "%s more dead letters have failed since this job was started.",

		"deadletter.title": "Dead letter %s", "deadletter.now": "Now:", "deadletter.fields": "What it would send now",
		"deadletter.fields.none": "It states no fields that can be sent.", "deadletter.history": "History", "deadletter.record": "Record",
		"deadletter.unread":   "Its record and history cannot be read now; these are the facts read before: %v",
		"plan.unread":         "nothing is planned while the topics cannot be read",
		"deadletter.notnewer": "not newer", "deadletter.nonewest": "none known",
		"deadletter.source": "Source", "deadletter.place": "Dead letter", "deadletter.key": "Key",
		"deadletter.masked": "Values are masked. To reveal them is recorded, with your note.",
		"reveal.label":      "Why", "reveal.button": "Reveal", "reveal.note": "Say why: to reveal values is recorded with a note.",
		"edit.button": "Edit and redrive…", "edit.title": "Edit %s", "edit.note": "The original stays in the dead-letter topic. The mapping checks the edited value first.",
		"edit.label": "Value (JSON)", "edit.check": "Check", "edit.json": "The value is not valid JSON.",
		"edit.rejected": "The mapping rejects this value, or nothing of it would be sent. Correct it here.",
		"runbook.title": "Runbook: %s", "runbook.section": "Runbook: dlq/RUNBOOK.md, section %s",
		"vendor.title": "For the vendor's support",
		"vendor.text":  "CRM %s, call of the Modify Member API at %s: errorCode %s, traceId %s, third-party traceId %s, calls %d.",

		"employee.title": "Employees", "employee.of": "Employee %s", "employee.id": "Employee id of the HR system", "employee.button": "Explain",
		"employee.since": "Events since", "employee.events": "Events", "employee.events.none": "The source topic holds none in this range.",
		"employee.fields": "Fields", "employee.fields.none": "Redis holds nothing of this member.", "employee.replay": "To process these events again",

		"audit.title": "Audit", "audit.note": "at most %d records, the latest first", "audit.none": "Nothing matches.",

		"replays.title": "Replays", "replays.from": "From", "replays.to": "To", "replays.to.none": "now", "replays.reapply": "reapply (the CRM was restored)",
		"replays.range": "Range", "replays.fields": "Members by field", "col.wouldsend": "Would be sent", "replays.chart": "Lag in the last hour, from the left to the right. A click on the chart fills in From, a second one To.",
		"replays.chart.label": "Lag from %s to %s, at most %s", "replays.chart.none": "The chart needs some seconds to collect.",
		"replays.count": "Reads %s. Redrives among the events: %s; expired: %s.",
		"replays.open":  "Of done, events whose dead letter is open: %s. Redrive these.", "replays.noevents": "No record in the range is of employee %s.",
		"replays.diffs": "The first %s, masked", "replays.copied": "Copy the command",
		"replays.problem": "The list of replays cannot be read now: %v",
		"replays.plan":    "Plan", "replays.planned": "Plan", "replays.send": "Send", "replays.done": "Done", "replays.superseded": "Superseded",
		"replays.unchanged": "Unchanged", "replays.ignored": "Ignored", "replays.poison": "Poison",
		"replays.calls": "At least %s, %s under the limit, after live traffic.", "replays.command": "The command that runs it",
		"replays.all": "Replays", "replays.none": "The audit topic names none.", "replays.canceled": "The replay is canceled.",
		"replays.resume": "To resume:",

		"mapping.title": "Mapping", "mapping.note": "Nothing is sent, and no file is read.", "mapping.event": "Event (the value of a record)",
		"mapping.novalue": "without a value (tombstone)", "mapping.file": "Mapping file (empty: the running mapping)",
		"mapping.lookups": "Lookups that may be used:", "mapping.try": "Try", "mapping.fault": "column %d: %s", "mapping.faults": "Faults of the mapping file",
		"mapping.records": "Or one of the latest records of the topic", "mapping.records.none": "The topic holds none.",
		"mapping.records.problem": "The latest records cannot be read now: %v", "mapping.reveal": "reveal its values",
		"mapping.masked": "masked", "mapping.unreadable": "not an event that the mapping reads", "mapping.result": "Result", "mapping.steps": "Steps",
		"mapping.example": "As an example of the mapping file", "mapping.copy": "Copy as example",
		"mapping.example.note": "An entry under examples: in the mapping file. It has the values of this event: replace what is personal. Add what lookups in files hold under lookups:.",
		"col.bytes":            "Bytes",

		"col.cause": "Cause", "col.count": "Count", "col.open": "Open", "col.employees": "Employees", "col.oldest": "Oldest", "col.instance": "Instance",
		"col.version": "Version", "col.partitions": "Partitions", "col.since": "Since", "col.state": "State", "col.inflight": "Calls in flight",
		"col.held": "Held", "col.select": "Select", "col.id": "Id", "col.employee": "Employee", "col.event": "Event", "col.failed": "Failed",
		"col.redrives": "Redrives", "col.error": "Error", "col.day": "Last 24 h", "col.first": "First", "col.last": "Last",
		"col.redriven": "Last redriven", "col.result": "Result", "col.detail": "Detail", "col.field": "Field", "col.value": "Value",
		"col.newer": "Newest known version", "col.sent": "Sent by a redrive", "col.place": "Place", "col.time": "Time", "col.outcome": "Outcome",
		"col.replay": "In a replay", "col.reapply": "With reapply", "col.setby": "Set by", "col.digest": "Value known by digest", "col.actor": "Actor",
		"col.action": "Action", "col.subject": "Subject", "col.progress": "Progress", "col.members": "Members", "col.path": "Path", "col.found": "Found",
		"col.steps": "Steps",

		"reason.malformed": "The bytes are not an event", "reason.oversized": "The record is too large",
		"reason.invalid_event": "A required part of the event is missing or wrong", "reason.invalid_field": "A member field has an invalid value",
		"reason.unresolved_reference": "A lookup found nothing", "reason.needs_fetch": "The event carries no values",
		"reason.routed": "A rule of the mapping dead-letters it", "reason.crm_not_found": "The CRM does not know what the update names",
		"reason.crm_invalid": "The CRM calls a value invalid", "reason.crm_rejected": "The CRM refuses the update",
		"reason.retries_exhausted": "All retries failed", "reason.invalid_redrive": "A redrive does not match its dead letter",
	}
}
