// Package path parses the paths of a mapping file: where in an event a value stands.
//
//	name.name[0].name[type=work].name
//	$event.header.event_id
//
// A backslash takes the meaning from the character behind it, so a\.b is one name.
package path

import (
	"slices"
	"strconv"
	"strings"

	"membersync/mapper/internal/jq"
	"membersync/mapper/internal/jsontree"
)

// A Root is where a path begins.
type Root uint8

// The roots. Here is what the place in the mapping file says.
const (
	Here      Root = iota
	Event          // $event: the document
	Item           // $item: the employee's entry of the list, or the document
	After          // $after
	Before         // $before
	Key            // $key: the record's key
	Header         // $header.NAME: a header of the record
	Attribute      // $ce.NAME: an attribute of the CloudEvent
)

// Roots lists the names of the roots, each at its number.
func Roots() []string {
	return []string{"", "$event", "$item", "$after", "$before", "$key", "$header", "$ce"}
}

// A Step is one step of a path.
type Step struct {
	Kind  StepKind
	Name  string   // of a member; for Where, the member that is compared
	Below []string // for Where: the names from there on to what is compared
	Value string   // for Where: what it must be
	Index int
}

// A StepKind says what a step does.
type StepKind uint8

// The kinds of steps.
const (
	Member  StepKind = iota // the member of an object
	Entry                   // the entry of a list
	Current                 // the entry of a list at the employee's own index
	Where                   // the first entry of a list with that member, or the object in its place
)

// A Path is a place in an event.
type Path struct {
	Root  Root
	Steps []Step
	JQ    *jq.Program // in place of steps
	Text  string      // as it was written
}

// Place returns the path for people: without the root of the document or the employee's entry.
func (p Path) Place() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.Text, "$event."), "$item.")
}

// Walk follows the steps from v; index is that of the employee. Absent or unfit values on the way
// give an absent value.
func Walk(v jsontree.Value, steps []Step, index int) jsontree.Value {
	for i := 0; i < len(steps) && !v.Absent(); i++ {
		s := &steps[i]
		switch s.Kind {
		case Member:
			v = v.Member(s.Name)
		case Entry:
			v = v.Entry(s.Index)
		case Current:
			v = v.Entry(index)
		case Where:
			v = where(v, s)
		}
	}
	return v
}

// where finds the entry. Converters from XML make an object of a list of one.
func where(list jsontree.Value, s *Step) jsontree.Value {
	if list.IsObject() && s.holds(list) {
		return list
	}
	for entry := range list.Entries() {
		if s.holds(entry) {
			return entry
		}
	}
	return jsontree.Value{}
}

// holds reports whether the member that is compared has the value.
func (s *Step) holds(entry jsontree.Value) bool {
	member := entry.Member(s.Name)
	for _, name := range s.Below {
		member = member.Member(name)
	}
	if member.IsText() {
		return member.Text() == s.Value
	}
	return !member.Absent() && string(member.Raw()) == s.Value
}

// Names yields the member names of the path.
func (p Path) Names(yield func(string) bool) {
	for _, s := range p.Steps {
		if s.Name != "" && !yield(s.Name) {
			return
		}
		for _, name := range s.Below {
			if !yield(name) {
				return
			}
		}
	}
}

// Parse reads a path. What is wrong with it is worded to be read behind it.
func Parse(text string) (p Path, problem string) {
	r := reader{rest: text}
	p.Text = text
	if text == "" {
		return p, "is empty"
	}
	if p.Root, problem = r.root(); problem != "" {
		return p, problem
	}
	for first := p.Root == Here; r.rest != ""; first = false {
		step, problem := r.step(first)
		if problem != "" {
			return p, problem
		}
		p.Steps = append(p.Steps, step)
	}
	return p, p.unfit()
}

// unfit says what a root demands of the steps.
func (p Path) unfit() string {
	named := len(p.Steps) == 1 && p.Steps[0].Kind == Member
	if (p.Root == Header || p.Root == Attribute) && !named {
		return "should be " + Roots()[p.Root] + ".NAME"
	}
	return ""
}

type reader struct{ rest string }

// root reads $event and the like.
func (r *reader) root() (Root, string) {
	if !strings.HasPrefix(r.rest, "$") {
		return Here, ""
	}
	end := strings.IndexAny(r.rest, ".[")
	if end < 0 {
		end = len(r.rest)
	}
	for i, name := range Roots() {
		if i > 0 && r.rest[:end] == name {
			r.rest = r.rest[end:]
			return Root(i), ""
		}
	}
	return Here, "begins with a $ but with none of " + strings.Join(Roots()[1:], ", ") + `; a name that begins with one is written \$`
}

// step reads .name or name, or [something].
func (r *reader) step(first bool) (Step, string) {
	if strings.HasPrefix(r.rest, "[") {
		return r.bracket()
	}
	if !first {
		r.rest = r.rest[1:] // the dot: nothing else ends a name
	}
	name, end, problem := r.until(".[")
	switch {
	case problem != "":
		return Step{}, problem
	case name == "":
		return Step{}, "has an empty name; a dot in a name is written \\."
	}
	r.rest = r.rest[end:]
	return Step{Kind: Member, Name: name}, ""
}

// bracket reads [3], [#] or [name.name=value].
func (r *reader) bracket() (Step, string) {
	names, problem := r.names()
	if problem != "" {
		return Step{}, problem
	}
	if strings.HasPrefix(r.rest, "=") {
		return r.match(names)
	}
	if !r.close() {
		return Step{}, "lacks a ] before the next step; a bracket in a name is written \\[ and \\]"
	}
	if names[0] == "#" && len(names) == 1 {
		return Step{Kind: Current}, ""
	}
	n, err := strconv.Atoi(names[0])
	if err != nil || n < 0 || n > 1_000_000 || len(names) > 1 {
		return Step{}, "has brackets that hold neither an index from 0, nor #, nor name=value"
	}
	return Step{Kind: Entry, Index: n}, ""
}

// names reads what stands in brackets up to the = or the end, parted by dots.
func (r *reader) names() (names []string, problem string) {
	for len(names) == 0 || strings.HasPrefix(r.rest, ".") {
		r.rest = r.rest[1:]
		name, end, problem := r.until(".]=")
		if problem != "" {
			return nil, problem
		}
		names, r.rest = append(names, name), r.rest[end:]
	}
	return names, ""
}

func (r *reader) match(names []string) (Step, string) {
	r.rest = r.rest[1:]
	value, end, problem := r.until("]")
	if problem != "" {
		return Step{}, problem
	}
	r.rest = r.rest[end:]
	switch {
	case !r.close():
		return Step{}, "lacks a ] before the next step; a bracket in a name is written \\[ and \\]"
	case slices.Contains(names, ""):
		return Step{}, "has brackets without a name before the ="
	}
	return Step{Kind: Where, Name: names[0], Below: names[1:], Value: value}, ""
}

// close takes the bracket, and demands that another step or nothing follows.
func (r *reader) close() bool {
	rest, ok := strings.CutPrefix(r.rest, "]")
	if !ok || rest != "" && rest[0] != '.' && rest[0] != '[' {
		return false
	}
	r.rest = rest
	return true
}

// until reads up to one of the characters in stop, without escaping backslashes.
func (r *reader) until(stop string) (text string, end int, problem string) {
	var b strings.Builder
	for i := 0; i < len(r.rest); i++ {
		c := r.rest[i]
		switch {
		case c == '\\' && i+1 == len(r.rest):
			return "", 0, `ends with a \`
		case c == '\\':
			i++
			b.WriteByte(r.rest[i])
		case strings.IndexByte(stop, c) >= 0:
			return b.String(), i, ""
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), len(r.rest), ""
}
