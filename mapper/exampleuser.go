package mapper

import (
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"membersync/crmapi"
	"membersync/mapper/internal/spec"
)

// userUpdate reads a user object of an example by the API's types, so that a wrong one shows
// as a fault of the file and not as a riddle.
func (xc exampleCompiler) userUpdate(n *yaml.Node) (update crmapi.Update) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := spec.Pos{Line: value.Line, Column: value.Column}
		f, known := crmapi.ParseField(name.Value)
		switch {
		case name.Value == "openUserId":
			update.OpenUserID = value.Value
		case !known:
			xc.c.log.Add(spec.Pos{Line: name.Line, Column: name.Column}, strconv.Quote(name.Value)+" is no member field"+spec.Hint(name.Value, fieldNames()))
		default:
			v, ok := exampleValue(f, value)
			if !ok {
				xc.c.log.Add(at, name.Value+" should be "+kindName(f.Kind()))
				continue
			}
			update = update.With(f, v)
		}
	}
	return update
}

func kindName(k crmapi.Kind) string {
	return [...]string{crmapi.KindText: "a text (quote digits)", crmapi.KindInt: "a whole number", crmapi.KindInts: "a list of whole numbers"}[k]
}

func exampleValue(f crmapi.Field, n *yaml.Node) (v crmapi.Value, ok bool) {
	switch f.Kind() {
	case crmapi.KindInt:
		number, ok := exampleInt(n)
		return crmapi.Int(number), ok
	case crmapi.KindInts:
		ns := make([]int64, len(n.Content))
		ok := n.Kind == yaml.SequenceNode && !slices.ContainsFunc(n.Content, func(e *yaml.Node) bool { _, ok := exampleInt(e); return !ok })
		for i := range ns {
			if ok {
				ns[i], _ = exampleInt(n.Content[i])
			}
		}
		return crmapi.Ints(ns), ok
	case crmapi.KindText:
	}
	return crmapi.Text(n.Value), n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str"
}

func exampleInt(n *yaml.Node) (int64, bool) {
	number, err := strconv.ParseInt(n.Value, 10, 64)
	return number, err == nil && n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int"
}
