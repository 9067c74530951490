package deploycheck

import "strings"

// todo holds the folders and files that still have banned words, with their number. Delete an entry
// when nothing is left, or to see what is: then every finding below it is printed.
func todo() Ratchet {
	return Ratchet{}
}

// wide holds the folders and files that still have comments or prose that are too wide, with the
// number of such lines.
func wide() Ratchet {
	return Ratchet{}
}

// replacementOf maps each banned word and phrase to what to write instead.
func replacementOf() map[string]string {
	rows := []struct{ banned, write string }{
		{"letter, letters", "dead letter; of a text: character"},
		{"grave, graves, graveyard, graveyards", "dead letter, DeadLetterWriter"},
		{"doom, dooms, doomed, dooming", "reject, rejected"},
		{"condemn, condemns, condemned, condemning", "reject, rejected"},
		{"bury, buries, buried, burying, burial, burials", "dead-letter"},
		{"die, dies, died, dying", "fail, end, stop"},
		{"death, deaths", "failure, end"},
		{"guilt, guilty", "offending"},
		{"suspect, suspects, suspected, suspecting", "candidate"},
		{"acquit, acquits, acquitted, acquitting", "accept: the refusal is this event's own"},
		{"amnesty, mercy, lenient", "dead-letter held events (releaseHeld)"},
		{"overseer, overseers, oversight, oversee, oversees", "Control, control state"},
		{"obey, obeys, obeyed, obeying", "apply, follow"},
		{"born, birth, births", "Initialized, created"},
		{"bear, bears", "MarkInitialized; hold, carry"},
		{"belief, beliefs, disbelief", "trust"},
		{"believe, believed, believes, believing", "trust"},
		{"disbelieve, disbelieved, disbelieves", "InvalidateDigests, distrust"},
		{"doubt, doubts, doubted, doubting", "unknown, uncertain; InvalidateDigests"},
		{"unheard, unanswered", "unacknowledged"},
		{"sift, sifts, sifted, sifting", "admit"},
		{"verdict, verdicts", "outcome, result, decision"},
		{"judgement, judgements, judgment, judgments", "decision"},
		{"giver, givers", "contributor"},
		{"desk, desks", "session"},
		{"foresee, foresees, foreseen, foresaw, foretell, foretells, foretold", "preview"},
		{"rehearse, rehearses, rehearsed, rehearsing, rehearsal, rehearsals", "dry run"},
		{"patience", "timeout"},
		{"mend, mends, mended, mending", "fix, fixed"},
		{"remedy, remedies", "fix, command"},
		{"beside", "alongside, next to"},
		{"anew, afresh", "again"},
		{"meanwhile", "since then, until then"},
		{"nobody", "no instance, no caller"},
		{"whoever", "the caller"},
		{"somebody", "another process"},
		{"weather", "faults"},
		{"hostile", "corpus, malformed"},
		{"witness, witnesses, witnessed, witnessing", "recorder, record"},
		{"dice", "random source"},
		{"loudly", "with an error log and a metric"},
		{"but for", "except"},
		{"what became of", "outcome of"},
		{"what came of", "result of"},
		{"no such", "unknown, not found"},
		{"is none", "is invalid, is not a valid ..., is missing"},
		{"way of an event", "processing, pipeline, life cycle"},
	}
	replacements := map[string]string{}
	for _, row := range rows {
		for banned := range strings.SplitSeq(row.banned, ", ") {
			replacements[banned] = row.write
		}
	}
	return replacements
}
