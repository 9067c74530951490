package mapper

import (
	"membersync/mapper/internal/path"
	"membersync/mapper/internal/spec"
)

// A stateCompiler compiles where old and new values stand.
type stateCompiler struct{ c *compiler }

func (sc stateCompiler) states(s *spec.States) {
	rule := &sc.c.p.states
	after, before := sc.c.optional(s.After, path.After, path.Before), sc.c.optional(s.Before, path.After, path.Before)
	*rule = stateRule{
		after: after, before: before, text: s.Text.Value,
		holdsChanged: s.BeforeHolds.Value == "changed", noValues: NeedsFetch,
		changed: sc.c.optional(s.Changed.From, path.After, path.Before), changedSplit: s.Changed.Split.Value,
		changedName:  sc.c.optional(s.Changed.Name, relative()...),
		emptyList:    emptyList(find([]string{"", "all", "none"}, s.Changed.EmptyList)), //nolint:gosec // three
		absentClears: s.Absent.Value == "clear", removed: sc.c.optional(s.Removed, path.After, path.Before),
	}
	if rule.removed == nil && sc.c.p.kind == debezium {
		rule.removed = sc.c.implied("$event.updateDescription.removedFields")
	}
	if s.NoValues.Value == string(InvalidEvent) {
		rule.noValues = InvalidEvent
	}
	if s.Pairs != nil {
		sc.pairs(s.Pairs, s.After.Given())
	}
	if !s.After.Given() && !s.Before.Given() && s.Pairs == nil {
		sc.impliedStates()
	}
	sc.checkStates(s)
}

// impliedStates are those that the envelope gives.
func (sc stateCompiler) impliedStates() {
	switch sc.c.p.kind {
	case debezium:
		sc.c.p.states.after, sc.c.p.states.before = sc.c.implied("$event.after"), sc.c.implied("$event.before")
	case debeziumFlat:
		sc.c.p.states.after = sc.c.implied("$item")
	case plain, cloudEvents:
	}
}

func (sc stateCompiler) checkStates(s *spec.States) {
	at := s.At
	if !at.Given() {
		at = spec.Pos{Line: 1, Column: 1}
	}
	switch {
	case s.Pairs != nil && (s.Before.Given() || s.Changed.At.Given() || s.BeforeHolds.Given() || s.After.Given() != s.Text.Value):
		sc.c.log.Add(at, "pairs stand in place of after, before, before_holds, changed and text, except after and text together, where the pairs are in a text")
	case s.Pairs != nil && s.After.Given() && sc.c.p.states.pairs.from.Root != path.After:
		sc.c.log.Add(s.Pairs.From.Pos, "the pairs begin with $after where after is a text that holds them")
	case s.Pairs == nil && sc.c.p.states.after == nil && !s.After.Given():
		sc.c.log.Add(at, "states needs after or pairs")
	case s.BeforeHolds.Value == "changed" && sc.c.p.states.before == nil:
		sc.c.log.Add(s.BeforeHolds.Pos, "before_holds is about before, and there is none")
	case s.Changed.At.Given() && !s.Changed.From.Given():
		sc.c.log.Add(s.Changed.At, "changed needs from")
	case s.Changed.EmptyList.Given() && !s.Changed.From.Given():
		sc.c.log.Add(s.Changed.EmptyList.Pos, "empty_list is about the list of changes, and there is none")
	case s.Pairs != nil && (s.Absent.Given() || s.Removed.Given()):
		sc.c.log.Add(at, "absent and removed are about after, and pairs stand in its place")
	case s.Changed.Split.Given() && s.Changed.Split.Value == "":
		sc.c.log.Add(s.Changed.Split.Pos, "split is at least one character")
	}
}

func (sc stateCompiler) pairs(p *spec.Pairs, within bool) {
	unfit := []path.Root{path.Before}
	if !within {
		unfit = append(unfit, path.After)
	}
	from, _ := sc.c.path(p.From, unfit...)
	to := &pairRule{
		from: from, objects: p.Objects.Value, bare: p.Bare.Value, name: sc.c.optional(p.Name, relative()...), old: sc.c.optional(p.Old, relative()...), op: sc.c.optional(p.Op, relative()...),
	}
	to.new, _ = sc.c.path(p.New, relative()...)
	for _, r := range p.Remove {
		to.remove = append(to.remove, r.Value)
	}
	if p.Objects.Value && p.Name.Given() {
		sc.c.log.Add(p.Objects.Pos, "objects are for entries whose members have the names, and name says where a name stands")
	}
	if p.Op.Given() != (len(p.Remove) > 0) {
		sc.c.log.Add(p.At, "op and remove belong together")
	}
	sc.c.p.states.pairs = to
}
