package mapper

import (
	"membersync/mapper/internal/path"
	"membersync/mapper/internal/spec"
)

func (c *compiler) states(s *spec.States) {
	rule := &c.p.states
	after, before := c.optional(s.After, path.After, path.Before), c.optional(s.Before, path.After, path.Before)
	*rule = stateRule{
		after: after, before: before, text: s.Text.Value,
		holdsChanged: s.BeforeHolds.Value == "changed", noValues: NeedsFetch,
		changed: c.optional(s.Changed.From, path.After, path.Before), changedSplit: s.Changed.Split.Value,
		changedName:  c.optional(s.Changed.Name, relative()...),
		emptyList:    emptyList(find([]string{"", "all", "none"}, s.Changed.EmptyList)), //nolint:gosec // three
		absentClears: s.Absent.Value == "clear", removed: c.optional(s.Removed, path.After, path.Before),
	}
	if rule.removed == nil && c.p.kind == debezium {
		rule.removed = c.implied("$event.updateDescription.removedFields")
	}
	if s.NoValues.Value == string(InvalidEvent) {
		rule.noValues = InvalidEvent
	}
	if s.Pairs != nil {
		c.pairs(s.Pairs, s.After.Given())
	}
	if !s.After.Given() && !s.Before.Given() && s.Pairs == nil {
		c.impliedStates()
	}
	c.checkStates(s)
}

// impliedStates are those that the envelope gives.
func (c *compiler) impliedStates() {
	switch c.p.kind {
	case debezium:
		c.p.states.after, c.p.states.before = c.implied("$event.after"), c.implied("$event.before")
	case debeziumFlat:
		c.p.states.after = c.implied("$item")
	case plain, cloudEvents:
	}
}

func (c *compiler) checkStates(s *spec.States) {
	at := s.At
	if !at.Given() {
		at = spec.Pos{Line: 1, Column: 1}
	}
	switch {
	case s.Pairs != nil && (s.Before.Given() || s.Changed.At.Given() || s.BeforeHolds.Given() || s.After.Given() != s.Text.Value):
		c.log.Add(at, "pairs stand in place of after, before, before_holds, changed and text, except after and text together, where the pairs are in a text")
	case s.Pairs != nil && s.After.Given() && c.p.states.pairs.from.Root != path.After:
		c.log.Add(s.Pairs.From.Pos, "the pairs begin with $after where after is a text that holds them")
	case s.Pairs == nil && c.p.states.after == nil && !s.After.Given():
		c.log.Add(at, "states needs after or pairs")
	case s.BeforeHolds.Value == "changed" && c.p.states.before == nil:
		c.log.Add(s.BeforeHolds.Pos, "before_holds is about before, and there is none")
	case s.Changed.At.Given() && !s.Changed.From.Given():
		c.log.Add(s.Changed.At, "changed needs from")
	case s.Changed.EmptyList.Given() && !s.Changed.From.Given():
		c.log.Add(s.Changed.EmptyList.Pos, "empty_list is about the list of changes, and there is none")
	case s.Pairs != nil && (s.Absent.Given() || s.Removed.Given()):
		c.log.Add(at, "absent and removed are about after, and pairs stand in its place")
	case s.Changed.Split.Given() && s.Changed.Split.Value == "":
		c.log.Add(s.Changed.Split.Pos, "split is at least one character")
	}
}

func (c *compiler) pairs(p *spec.Pairs, within bool) {
	unfit := []path.Root{path.Before}
	if !within {
		unfit = append(unfit, path.After)
	}
	from, _ := c.path(p.From, unfit...)
	to := &pairRule{
		from: from, objects: p.Objects.Value, bare: p.Bare.Value, name: c.optional(p.Name, relative()...), old: c.optional(p.Old, relative()...), op: c.optional(p.Op, relative()...),
	}
	to.new, _ = c.path(p.New, relative()...)
	for _, r := range p.Remove {
		to.remove = append(to.remove, r.Value)
	}
	if p.Objects.Value && p.Name.Given() {
		c.log.Add(p.Objects.Pos, "objects are for entries whose members have the names, and name says where a name stands")
	}
	if p.Op.Given() != (len(p.Remove) > 0) {
		c.log.Add(p.At, "op and remove belong together")
	}
	c.p.states.pairs = to
}
