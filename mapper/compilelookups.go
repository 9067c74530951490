package mapper

import (
	"slices"
	"strconv"

	"membersync/mapper/internal/spec"
)

// A lookupCompiler compiles the lookups, and knows which are used.
type lookupCompiler struct {
	c     *compiler
	names []string
	used  map[string]bool
}

// use notes that a lookup is used.
func (lc *lookupCompiler) use(name spec.Text) {
	lc.used[name.Value] = true
	if !slices.Contains(lc.names, name.Value) {
		lc.c.log.Add(name.Pos, strconv.Quote(name.Value)+" is no lookup of this file"+spec.Hint(name.Value, lc.names))
	}
}

func (lc *lookupCompiler) compileLookups() {
	for i := range lc.c.file.Lookups {
		name, l := lc.c.file.Lookups[i].Name, &lc.c.file.Lookups[i].Value
		lc.names = append(lc.names, name.Value)
		given := 0
		for _, is := range []bool{l.Table != nil, l.File.Given(), l.Redis.Given()} {
			if is {
				given++
			}
		}
		switch {
		case given != 1:
			lc.c.log.Add(name.Pos, "lookup "+strconv.Quote(name.Value)+" needs exactly one of table, file and redis")
		case l.Table != nil:
			table := lc.table(l.Table)
			if l.Fold.Value == "lower" {
				folded, twice := foldedTable(table)
				if twice != "" {
					lc.c.log.Add(name.Pos, "lookup "+strconv.Quote(name.Value)+" gives "+strconv.Quote(twice)+" two values where case does not count")
				}
				table = folded
			}
			lc.c.p.inline[name.Value] = table
		default:
			lc.c.p.external[name.Value] = l.Redis.Given()
			lc.c.p.lookups = append(lc.c.p.lookups, Lookup{
				Name: name.Value, File: l.File.Value, Key: l.Key.Value, Value: l.Value.Value, Redis: l.Redis.Value,
				Line: name.Line, Column: name.Column,
			})
		}
		if l.Fold.Value == "lower" {
			lc.c.p.folded[name.Value] = true
		}
		if (l.Key.Given() || l.Value.Given()) && !l.File.Given() {
			lc.c.log.Add(name.Pos, "key and value are columns of a file, and there is none")
		}
	}
}

func (lc *lookupCompiler) table(entries spec.Map[spec.Scalar]) inlineTable {
	t := inlineTable{}
	for _, e := range entries {
		if e.Value.Null || e.Value.Value == "" {
			lc.c.log.Add(e.Value.Pos, "a table translates to something")
		}
		t[e.Name.Value] = e.Value.Value
	}
	return t
}
