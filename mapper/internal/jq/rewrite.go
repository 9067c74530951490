package jq

import (
	"slices"
	"strings"

	"github.com/itchyny/gojq"
)

// A step of gojq can make a value of any size: "x" * 1e9, or lists of lists that share their
// entries. So each place of a program that makes a value is followed by a function which counts
// its size, and what could be large at once is looked at before. All functions return their
// input.

const meterVariable = "$__meter"

// The counting functions, by what they look at.
const (
	charged = "__charge" // the value that was made
	indexed = "__index"  // the index of an entry
	pathed  = "__path"   // a path with such indexes
	times   = "__times"  // the operands of a multiplication
	short   = "__short"  // the text that a regular expression looks at
)

// refused lists what reaches beyond the value, or has no bound.
func refused() []string {
	return strings.Fields("input inputs input_filename input_line_number debug stderr halt halt_error env $ENV now localtime strflocaltime " +
		"modulemeta get_search_list builtins fromstream truncate_stream limit_depth $__loc__ $__prog_args")
}

// free lists the functions that make nothing: they pass on what there is, or a small value.
func free() []string {
	return strings.Fields("empty error not select type length utf8bytelength has in inside contains startswith endswith any all values nulls strings numbers " +
		"objects arrays booleans iterables scalars isempty test first last nth limit skip until while repeat recurse range isvalid isnan isinfinite isnormal path")
}

// A rewriter puts the counting functions into a program.
type rewriter struct {
	own     map[string]bool // functions and their arguments that the program defines
	refused string
}

func call(name string, args ...*gojq.Query) *gojq.Query {
	args = append(args, &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: &gojq.Func{Name: meterVariable}}})
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: &gojq.Func{Name: name, Args: args}}}
}

func pipe(left, right *gojq.Query) *gojq.Query {
	return &gojq.Query{Left: left, Op: gojq.OpPipe, Right: right}
}

// follow pipes q into a counting function, in place.
func follow(q *gojq.Query, name string) {
	inner := *q
	inner.FuncDefs, inner.Imports, inner.Meta = nil, nil, nil
	*q = gojq.Query{Meta: q.Meta, Imports: q.Imports, FuncDefs: q.FuncDefs, Left: &inner, Op: gojq.OpPipe, Right: call(name)}
}

func (r *rewriter) query(q *gojq.Query) {
	if q == nil {
		return
	}
	if len(q.Imports) > 0 || q.Meta != nil {
		r.refused = "import"
	}
	for _, def := range q.FuncDefs {
		r.define(def)
	}
	r.term(q.Term)
	r.query(q.Left)
	r.query(q.Right)
	r.patterns(q.Patterns)
	switch q.Op { //nolint:exhaustive // the others make no values
	case gojq.OpMul:
		*q = *bind(q, q.Right, rightFactor, bind(nil, q.Left, leftFactor, product()))
	case gojq.OpUpdateMul:
		// a *= b is b as $right | a |= . * $right
		identity := &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeIdentity}}
		update := &gojq.Query{Left: q.Left, Op: gojq.OpModify, Right: bind(nil, identity, leftFactor, product())}
		*q = *bind(q, q.Right, rightFactor, update)
		follow(q, charged)
	case gojq.OpAdd, gojq.OpDiv, gojq.OpAssign, gojq.OpModify, gojq.OpUpdateAdd, gojq.OpUpdateSub, gojq.OpUpdateDiv, gojq.OpUpdateMod, gojq.OpUpdateAlt:
		follow(q, charged)
	}
}

// The factors of a product are bound, the right one first as jq does, and looked at before it is
// made.
const (
	leftFactor  = "$__left"
	rightFactor = "$__right"
)

func variable(name string) *gojq.Query {
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: &gojq.Func{Name: name}}}
}

// bind is value as $name | body, with the definitions of another query.
func bind(of, value *gojq.Query, name string, body *gojq.Query) *gojq.Query {
	q := &gojq.Query{Left: value, Op: gojq.OpPipe, Patterns: []*gojq.Pattern{{Name: name}}, Right: body}
	if of != nil {
		q.Meta, q.Imports, q.FuncDefs = of.Meta, of.Imports, of.FuncDefs
	}
	return q
}

func product() *gojq.Query {
	q := &gojq.Query{Left: variable(leftFactor), Op: gojq.OpMul, Right: variable(rightFactor)}
	follow(q, charged)
	return pipe(call(times, variable(leftFactor), variable(rightFactor)), q)
}

func (r *rewriter) define(def *gojq.FuncDef) {
	r.own[def.Name] = true
	for _, arg := range def.Args {
		r.own[arg] = true
	}
	r.query(def.Body)
}

func (r *rewriter) patterns(patterns []*gojq.Pattern) {
	for _, p := range patterns {
		if strings.HasPrefix(p.Name, "$__") {
			r.refused = p.Name
		}
		r.patterns(p.Array)
		for _, o := range p.Object {
			r.query(o.KeyQuery)
			r.text(o.KeyString)
			if o.Val != nil {
				r.patterns([]*gojq.Pattern{o.Val})
			}
		}
	}
}

func (r *rewriter) text(s *gojq.String) {
	if s != nil {
		for _, q := range s.Queries {
			r.query(q)
		}
	}
}

func (r *rewriter) index(i *gojq.Index) {
	if i == nil {
		return
	}
	r.text(i.Str)
	r.query(i.Start)
	r.query(i.End)
	if i.Start != nil && !i.IsSlice {
		i.Start = pipe(i.Start, call(indexed))
	}
}

func (r *rewriter) term(t *gojq.Term) {
	if t == nil {
		return
	}
	for _, s := range t.SuffixList {
		r.index(s.Index)
	}
	r.index(t.Index)
	r.text(t.Str)
	r.inside(t)
	makes := (t.Type == gojq.TermTypeArray && t.Array.Query != nil) || t.Type == gojq.TermTypeObject || t.Type == gojq.TermTypeFormat ||
		t.Type == gojq.TermTypeString && len(t.Str.Queries) > 0
	before := ""
	if t.Type == gojq.TermTypeFunc {
		before, makes = r.function(t.Func)
	}
	if before == "" && !makes {
		return
	}
	inner := *t
	inner.SuffixList = nil
	q := &gojq.Query{Term: &inner}
	if before != "" {
		q = pipe(call(before), q)
	}
	if makes {
		q = pipe(q, call(charged))
	}
	*t = gojq.Term{Type: gojq.TermTypeQuery, Query: q, SuffixList: t.SuffixList}
}

// inside goes through the parts of a term.
func (r *rewriter) inside(t *gojq.Term) {
	switch t.Type { //nolint:exhaustive // the others have no parts
	case gojq.TermTypeObject:
		for _, kv := range t.Object.KeyVals {
			r.text(kv.KeyString)
			r.query(kv.KeyQuery)
			r.query(kv.Val)
		}
	case gojq.TermTypeArray:
		r.query(t.Array.Query)
	case gojq.TermTypeUnary:
		r.term(t.Unary.Term)
	case gojq.TermTypeIf:
		r.query(t.If.Cond)
		r.query(t.If.Then)
		r.query(t.If.Else)
		for _, e := range t.If.Elif {
			r.query(e.Cond)
			r.query(e.Then)
		}
	case gojq.TermTypeTry:
		r.query(t.Try.Body)
		r.query(t.Try.Catch)
	case gojq.TermTypeReduce:
		r.query(t.Reduce.Query)
		r.query(t.Reduce.Start)
		r.query(t.Reduce.Update)
		r.patterns(t.Reduce.Patterns)
	case gojq.TermTypeForeach:
		r.query(t.Foreach.Query)
		r.query(t.Foreach.Start)
		r.query(t.Foreach.Update)
		r.query(t.Foreach.Extract)
		r.patterns(t.Foreach.Patterns)
	case gojq.TermTypeLabel:
		r.query(t.Label.Body)
	case gojq.TermTypeQuery:
		r.query(t.Query)
	}
}

// function says what looks at the input of a call, and whether the call makes a value.
func (r *rewriter) function(f *gojq.Func) (before string, makes bool) {
	for _, arg := range f.Args {
		r.query(arg)
	}
	switch {
	case slices.Contains(refused(), f.Name), strings.HasPrefix(f.Name, "__"), strings.HasPrefix(f.Name, "$__"):
		r.refused = f.Name
		return "", false
	case f.Name[0] == '$' || r.own[f.Name]:
		return "", false
	case slices.Contains([]string{"getpath", "setpath", "delpaths"}, f.Name) && len(f.Args) > 0:
		f.Args[0] = pipe(f.Args[0], call(pathed))
	case slices.Contains(strings.Fields("sub gsub match test capture scan split splits ascii"), f.Name):
		before = short
	}
	return before, !slices.Contains(free(), f.Name)
}
