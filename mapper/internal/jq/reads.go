package jq

import (
	"slices"

	"github.com/itchyny/gojq"
)

// Reads says what a program looks at, as far as its text tells.
type Reads struct {
	Names     []string // of all members that it names
	Tops      []string // of those that may be members of its input
	Whole     bool     // it looks at its input as a whole, so at any member
	Variables []string
}

func readsOf(q *gojq.Query) Reads {
	f := &finder{}
	f.query(q)
	return f.Reads
}

type finder struct{ Reads }

func (f *finder) add(to *[]string, name string) {
	if !slices.Contains(*to, name) {
		*to = append(*to, name)
	}
}

func (f *finder) query(q *gojq.Query) {
	if q == nil {
		return
	}
	for _, def := range q.FuncDefs {
		f.query(def.Body)
	}
	f.term(q.Term)
	f.query(q.Left)
	f.query(q.Right)
	f.patterns(q.Patterns)
}

func (f *finder) patterns(patterns []*gojq.Pattern) {
	for _, p := range patterns {
		f.patterns(p.Array)
		for _, o := range p.Object {
			if o.Key != "" && o.Key[0] != '$' {
				f.add(&f.Names, o.Key)
			}
			f.text(o.KeyString)
			f.query(o.KeyQuery)
			if o.Val != nil {
				f.patterns([]*gojq.Pattern{o.Val})
			}
			f.Whole = true
		}
	}
}

func (f *finder) text(s *gojq.String) {
	if s == nil {
		return
	}
	if s.Queries == nil {
		f.add(&f.Names, s.Str)
	}
	for _, q := range s.Queries {
		f.query(q)
	}
}

// index notes the name of a member and reports whether there is one.
func (f *finder) index(i *gojq.Index, top bool) bool {
	name := i.Name
	if i.Str != nil && i.Str.Queries == nil {
		name = i.Str.Str
	}
	f.text(i.Str)
	f.query(i.Start)
	f.query(i.End)
	if i.Start != nil && i.Start.Term != nil && i.Start.Term.Type == gojq.TermTypeString && i.Start.Term.Str.Queries == nil {
		name = i.Start.Term.Str.Str
	}
	if name == "" {
		return false
	}
	f.add(&f.Names, name)
	if top {
		f.add(&f.Tops, name)
	}
	return true
}

func (f *finder) term(t *gojq.Term) {
	if t == nil {
		return
	}
	rest := t.SuffixList
	switch t.Type { //nolint:exhaustive // the others look at nothing
	case gojq.TermTypeIndex:
		if !f.index(t.Index, true) {
			f.Whole = true
		}
	case gojq.TermTypeIdentity:
		if len(rest) == 0 || rest[0].Index == nil || !f.index(rest[0].Index, true) {
			f.Whole = f.Whole || len(rest) > 0
		}
	case gojq.TermTypeRecurse:
		f.Whole = true
	case gojq.TermTypeFunc:
		f.function(t.Func)
	}
	for _, s := range rest {
		if s.Index != nil {
			f.index(s.Index, false)
		}
	}
	f.text(t.Str)
	f.inside(t)
}

func (f *finder) function(fn *gojq.Func) {
	if fn.Name[0] == '$' {
		f.add(&f.Variables, fn.Name)
	}
	whole := []string{"keys", "keys_unsorted", "to_entries", "with_entries", "getpath", "paths", "recurse", "map_values", "walk", "tojson", "tostring", "tostream", "has", "del", "pick", "fromjson"}
	f.Whole = f.Whole || slices.Contains(whole, fn.Name)
	for _, arg := range fn.Args {
		f.query(arg)
	}
}

func (f *finder) inside(t *gojq.Term) {
	switch t.Type { //nolint:exhaustive // the others have no parts
	case gojq.TermTypeObject:
		for _, kv := range t.Object.KeyVals {
			if kv.Val == nil && kv.Key != "" && kv.Key[0] != '$' { // {a} is {a: .a}
				f.add(&f.Names, kv.Key)
				f.add(&f.Tops, kv.Key)
			}
			f.text(kv.KeyString)
			f.query(kv.KeyQuery)
			f.query(kv.Val)
		}
	case gojq.TermTypeArray:
		f.query(t.Array.Query)
	case gojq.TermTypeUnary:
		f.term(t.Unary.Term)
	case gojq.TermTypeIf:
		f.query(t.If.Cond)
		f.query(t.If.Then)
		f.query(t.If.Else)
		for _, e := range t.If.Elif {
			f.query(e.Cond)
			f.query(e.Then)
		}
	case gojq.TermTypeTry:
		f.query(t.Try.Body)
		f.query(t.Try.Catch)
	case gojq.TermTypeReduce:
		f.query(t.Reduce.Query)
		f.query(t.Reduce.Start)
		f.query(t.Reduce.Update)
	case gojq.TermTypeForeach:
		f.query(t.Foreach.Query)
		f.query(t.Foreach.Start)
		f.query(t.Foreach.Update)
		f.query(t.Foreach.Extract)
	case gojq.TermTypeLabel:
		f.query(t.Label.Body)
	case gojq.TermTypeQuery:
		f.query(t.Query)
	}
}
