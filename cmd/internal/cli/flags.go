package cli

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/times"
	"membersync/dlq"
	"membersync/mapper"
)

// wantNote is the fault of a command that needs a note.
const wantNote = "--note TEXT (the reason, recorded in the audit topic)"

// defineCommon defines the flags of every command.
func (a *app) defineCommon(set *flags.Set) {
	set.Bool(&a.noColor, "no-color", "print without colors, as with NO_COLOR in the environment")
}

func outputFlag(in *invocation, set *flags.Set) {
	set.Choice(&in.output, "output", "o", "form of the result: table, or json with one object per line", outputTable, outputJSON)
}

func defineFilter(f *filter, set *flags.Set) {
	reasons := wordsOf(dlq.Reasons())
	set.List("reason", "", "of the latest failure: "+flags.Alternatives(reasons), reasons, func(word string) {
		f.query.Reasons = append(f.query.Reasons, dlq.Reason(word))
	})
	stages := wordsOf([]dlq.Stage{dlq.StageDecode, dlq.StageMap, dlq.StageUpdate})
	set.Choice((*string)(&f.query.Stage), "stage", "", "where it failed: "+flags.Alternatives(stages), stages...)
	set.Text(&f.query.Code, "code", "string", "the CRM's errorCode")
	set.Text(&f.query.Employee, "employee", "string", "the HR system's id")
	set.Text(&f.query.Text, "text", "string", "a part of the error, in any case")
	set.Time(&f.query.Since, "since", "failed at this time or later: RFC 3339, or how long ago (2h, 3d4h)")
	set.Time(&f.query.Until, "until", "failed before this time")
}

const allStates = "all"

func defineState(f *filter, set *flags.Set, def dlq.State) {
	f.query.States = []dlq.State{def}
	words := append(wordsOf(dlq.States()), allStates)
	set.List("state", "["+string(def)+"]", "their state: "+flags.Alternatives(words), words, func(word string) {
		if !f.stateGiven {
			f.query.States, f.stateGiven = nil, true
		}
		if word == allStates {
			f.query.States = dlq.States()
			return
		}
		f.query.States = append(f.query.States, dlq.State(word))
	})
}

func wordsOf[T ~string](all []T) []string {
	words := make([]string, len(all))
	for i, one := range all {
		words[i] = string(one)
	}
	return words
}

func defineOrder(o *order, set *flags.Set) {
	defineWho(o, set, "")
	set.Bool(&o.dryRun, "dry-run", "print the plan and change nothing")
	set.Bool(&o.yes, "yes", "do not ask; required without a terminal")
}

// defineWho defines who asks, and why. The condition stands before what the help says of them.
func defineWho(o *order, set *flags.Set, condition string) {
	set.Text(&o.note, "note", "string", condition+"the reason, recorded in the audit topic")
	set.Text(&o.actor, "actor", "string", condition+"who, recorded in the audit topic as unverified; $USER@host if not given")
}

func defineShowing(o *showing, set *flags.Set) {
	set.Bool(&o.reveal, "reveal", "show personal data, once the audit topic has acknowledged the record of who looks at what")
	defineWho(&o.order, set, "with --reveal: ")
}

// checkShowing finds what only the record of a reveal would hold.
func checkShowing(in *invocation, o *showing) {
	switch {
	case o.reveal && strings.TrimSpace(o.note) == "":
		in.fault("", "required flag with --reveal: "+wantNote)
	case o.note != "" && !o.reveal:
		in.fault("--note", "needs --reveal")
	}
	if o.actor != "" && !o.reveal {
		in.fault("--actor", "needs --reveal")
	}
}

func defineSubject(s *subject, set *flags.Set) {
	set.Text(&s.openUserID, "open-user-id", "string",
		"the member of the CRM; if not given, it is that of the employee's latest event in the source topic")
}

func defineTarget(p *ops.Position, set *flags.Set, name, usage string) {
	set.Func(name, "place", usage, func(text string) string {
		if !p.Add(text, time.Now()) {
			return "should be earliest, latest, " + times.Want + ", or offsets such as 3:1042, and only one kind of them; got " +
				strconv.Quote(text) + flags.DidYouMean(text, slices.Values([]string{"earliest", "latest"}))
		}
		return ""
	})
}

func defineGroupBy(l *listing, set *flags.Set) {
	words := slices.Sorted(maps.Keys(ops.Groupings()))
	set.Choice(&l.groupBy, "group-by", "", "count by this, with the age of the oldest: "+flags.Alternatives(words), words...)
}

func defineMessage(m *message, set *flags.Set) {
	set.Bool(&m.explain, "explain", "show where each value came from and what each step did to it")
	set.Bool(&m.noValue, "no-value", "the record is a tombstone: it has no value, and no file is read")
	set.Func("key", "string", "key of the record", func(text string) string {
		m.key = []byte(text)
		return ""
	})
	set.Func("header", "name=value", "a header of the record; may be repeated", func(text string) string {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			return "should be name=value"
		}
		m.headers = append(m.headers, mapper.Header{Key: name, Value: []byte(value)})
		return ""
	})
	set.Time(&m.time, "timestamp", "timestamp of the record: RFC 3339, or how long ago (2h, 3d4h). Later times in the event are "+
		"in the future, and with order: {kind: none} it orders the events")
	m.found = map[mapper.Reference]string{}
	set.Func("lookup", "name:key=value", "an entry of a lookup that is kept in Redis, which is not asked; may be repeated", func(text string) string {
		name, entry, found := strings.Cut(text, ":")
		key, value, given := strings.Cut(entry, "=")
		if !found || !given || name == "" {
			return "should be name:key=value"
		}
		m.found[mapper.Reference{Lookup: name, Key: key}] = value
		return ""
	})
}
