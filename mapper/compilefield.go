package mapper

import (
	"slices"
	"strconv"

	"membersync/crmapi"
	"membersync/mapper/internal/path"
	"membersync/mapper/internal/spec"
)

// A fieldCompiler compiles the table of fields.
type fieldCompiler struct{ c *compiler }

// field compiles one row of the field table.
func (fc fieldCompiler) field(e *spec.Entry[spec.Field]) {
	f := &e.Value
	of, _ := crmapi.ParseField(e.Name.Value) // the decoder has checked the name
	rule := fieldRule{
		field: of, concat: len(f.Concat) > 0, separator: f.Separator.Value, split: f.Split.Value, lookup: f.Lookup.Value,
		missIgnored: f.Miss.Value == "ignore", numbers: f.Numbers.Value, country: f.Country.Value, noEnd: f.NoEnd.Value,
		unknownIgnored: f.Unknown.Value == "ignore", alsoEmpty: scalars(f.AlsoEmpty),
		paths: fc.c.paths(slices.Concat(f.From, f.Concat), path.After, path.Before), each: fc.c.optional(f.Each, relative()...),
	}
	before := fc.c.log.Len()
	fc.fieldProgram(e, &rule)
	fc.origin(e, &rule)
	fc.reading(e, &rule)
	fc.texts(f, &rule)
	fc.policies(e, &rule)
	fc.changedNames(f, &rule)
	if fc.c.log.Len() == before && (len(rule.paths) > 0 || rule.constant != nil) {
		fc.c.p.fields = append(fc.c.p.fields, rule)
	}
}

// fieldProgram compiles the jq program of a field. Without from it says where the value stands.
func (fc fieldCompiler) fieldProgram(e *spec.Entry[spec.Field], rule *fieldRule) {
	f := &e.Value
	if f.JQ == nil {
		return
	}
	program, ok := fc.c.program(f.JQ)
	switch {
	case len(f.Concat) > 0 || len(f.Const) > 0:
		fc.c.log.Add(f.JQ.Pos, "jq is a step of a field with from")
	case !ok:
	case len(f.From) == 0:
		f.From = []spec.Path{{Pos: f.JQ.Pos, JQ: f.JQ}}
		rule.paths = []path.Path{program}
	default:
		rule.program = &program
	}
}

// origin checks where the value comes from.
func (fc fieldCompiler) origin(e *spec.Entry[spec.Field], rule *fieldRule) {
	f, given := &e.Value, 0
	for _, is := range []bool{len(f.From) > 0, len(f.Concat) > 0, len(f.Const) > 0} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		fc.c.log.Add(e.Name.Pos, e.Name.Value+" needs exactly one of from, concat and const")
		return
	case f.Separator.Given() && !rule.concat:
		fc.c.log.Add(f.Separator.Pos, "separator stands between the parts of concat, and there is none")
	}
	if len(f.Const) > 0 {
		fc.constant(e, rule)
	}
	if f.Table != nil {
		fc.ownTable(e, rule)
	}
	if f.Lookup.Given() {
		fc.c.lookups.use(f.Lookup)
	}
	if f.Miss.Given() && !f.Lookup.Given() && f.Table == nil {
		fc.c.log.Add(f.Miss.Pos, "miss is about a lookup or a table, and there is none")
	}
}

// ownTable makes a lookup of a field's table. Its name is that of the field.
func (fc fieldCompiler) ownTable(e *spec.Entry[spec.Field], rule *fieldRule) {
	if e.Value.Lookup.Given() {
		fc.c.log.Add(e.Name.Pos, "a field has either a table or a lookup")
		return
	}
	name := "table of " + e.Name.Value
	rule.lookup = name
	fc.c.p.inline[name] = fc.c.lookups.table(e.Value.Table)
}

func (fc fieldCompiler) constant(e *spec.Entry[spec.Field], rule *fieldRule) {
	list := e.Value.Const
	if rule.field.Kind() != crmapi.KindInts && len(list) != 1 {
		fc.c.log.Add(list[0].Pos, e.Name.Value+" takes one value")
		return
	}
	var ns []int64
	for _, s := range list {
		if rule.field.Kind() == crmapi.KindText {
			v := crmapi.Text(s.Value)
			rule.constant = &v
			if s.Null || s.Value == "" {
				fc.c.log.Add(s.Pos, "a constant is not empty")
			}
			return
		}
		n, problem := leaf{'"', s.Value}.integer()
		if problem != "" || n < 0 {
			fc.c.log.Add(s.Pos, "should be a whole number from 0")
		}
		ns = append(ns, n)
	}
	v := crmapi.Ints(ns)
	if rule.field.Kind() == crmapi.KindInt {
		v = crmapi.Int(ns[0])
	}
	rule.constant = &v
}

// usual is how a field is read unless the file says otherwise.
func usual(f crmapi.Field) normalizer {
	switch {
	case f == crmapi.Gender:
		return asGender
	case f == crmapi.HireDate, f == crmapi.BirthDate, f == crmapi.StartWorkDate:
		return asDate
	case f.Kind() == crmapi.KindInt:
		return asInt
	case f.Kind() == crmapi.KindInts:
		return asInts
	}
	return asText
}

// reading compiles how the value is read, and refuses keys that would do nothing.
func (fc fieldCompiler) reading(e *spec.Entry[spec.Field], rule *fieldRule) {
	f := &e.Value
	rule.as = usual(rule.field)
	if f.As.Given() {
		rule.as = normalizer(find(normalizers(), f.As)) //nolint:gosec // six
		if fc.unfit(rule) {
			fc.c.log.Add(f.As.Pos, strconv.Quote(f.As.Value)+" does not give what "+e.Name.Value+" needs; "+normalizers()[usual(rule.field)]+" does")
		}
	}
	rule.male, rule.female = texts(f.Male), texts(f.Female)
	if f.Male == nil {
		rule.male = []string{"M", "m", "male", "Male", "MALE", "man", "1", "男", "男性"}
	}
	if f.Female == nil {
		rule.female = []string{"F", "f", "female", "Female", "FEMALE", "woman", "2", "女", "女性"}
	}
	fc.disjoint(f, rule)
	if rule.as == asDate {
		rule.dates = fc.c.dates(&f.Dates)
	} else {
		fc.c.noDates(&f.Dates, "dates")
	}
	fc.c.onlyFor(rule.as == asPhone, f.Country.Pos, "phones")
	fc.c.onlyFor(rule.as == asGender, first(f.Male), "gender")
	fc.c.onlyFor(rule.as == asGender, first(f.Female), "gender")
	fc.c.onlyFor(rule.as == asGender, f.Unknown.Pos, "gender")
	fc.c.onlyFor(rule.as == asDate, f.NoEnd.Pos, "dates")
	fc.c.onlyFor(rule.as == asInts, f.Split.Pos, "ints")
	fc.c.onlyFor(rule.as == asInts, f.Each.Pos, "ints")
	fc.c.onlyFor(rule.as == asText || rule.as == asPhone, f.Numbers.Pos, "texts and phones")
	if f.Split.Given() && f.Split.Value == "" {
		fc.c.log.Add(f.Split.Pos, "split is at least one character")
	}
	if f.Country.Given() && !isDigits(f.Country.Value) {
		fc.c.log.Add(f.Country.Pos, "country is digits, such as 86")
	}
}

// unfit reports whether the normalizer does not give the type that the field has.
func (fc fieldCompiler) unfit(rule *fieldRule) bool {
	switch rule.field.Kind() {
	case crmapi.KindInt:
		return rule.as != asInt
	case crmapi.KindInts:
		return rule.as != asInts
	case crmapi.KindText:
	}
	if own := usual(rule.field); own != asText { // a date and a gender have a form that the API demands
		return rule.as != own
	}
	return rule.as == asInt || rule.as == asInts
}

// disjoint refuses a value that means both M and F.
func (fc fieldCompiler) disjoint(f *spec.Field, rule *fieldRule) {
	if f.Male == nil && f.Female == nil {
		return
	}
	given := append(slices.Clone(f.Male), f.Female...)
	for _, t := range given {
		if slices.Contains(rule.male, t.Value) && slices.Contains(rule.female, t.Value) {
			fc.c.log.Add(t.Pos, strconv.Quote(t.Value)+" means both M and F; give both lists")
		}
	}
}

// texts compiles what is done to texts.
func (fc fieldCompiler) texts(f *spec.Field, rule *fieldRule) {
	d := &fc.c.file.Defaults
	rule.trim = d.Trim.Value
	if f.Trim.Given() {
		rule.trim = f.Trim.Value
	}
	form := d.Form
	if f.Form.Given() {
		form = f.Form
	}
	rule.form = unicodeForm(find([]string{"none", "nfc", "nfkc"}, form)) //nolint:gosec // three
	rule.refuseMasked = f.Masked.Value == "reject" || rule.field == crmapi.Mobile || rule.as == asPhone
	if f.Masked.Value == "allow" && (rule.field == crmapi.Mobile || rule.as == asPhone) {
		fc.c.log.Add(f.Masked.Pos, "masked phone numbers are never sent")
	}
}

// policies compiles what null, empty and missing mean, and how a clear is sent.
func (fc fieldCompiler) policies(e *spec.Entry[spec.Field], rule *fieldRule) {
	f, d := &e.Value, &fc.c.file.Defaults
	rule.null, rule.empty = policyOf(f.Null, d.Null, rejects), policyOf(f.Empty, d.Empty, rejects)
	rule.missing = policyOf(f.Missing, d.Missing, ignores)
	clearable := []crmapi.Field{crmapi.Position, crmapi.Email, crmapi.QQ, crmapi.Weixin, crmapi.AttachingDepartmentIDs}
	rule.canClear = slices.Contains(clearable, rule.field)
	if !f.Clear.Given() {
		return
	}
	rule.canClear = f.Clear.Value != spec.ClearRefused
	fits := f.Clear.Value == spec.ClearRefused || f.Clear.Value == spec.ClearText && rule.field.Kind() == crmapi.KindText ||
		f.Clear.Value == spec.ClearList && rule.field.Kind() == crmapi.KindInts
	if !fits {
		fc.c.log.Add(f.Clear.Pos, f.Clear.Value+" is not of the type that "+e.Name.Value+" has")
	}
}

// policyOf is what the field says, else what the defaults say, else the last.
func policyOf(of, general spec.Text, otherwise policy) policy {
	for _, t := range []spec.Text{of, general} {
		switch t.Value {
		case "reject":
			return rejects
		case "ignore":
			return ignores
		case "clear":
			return clears
		}
	}
	return otherwise
}

// changedNames are what a list of changes calls the field.
func (fc fieldCompiler) changedNames(f *spec.Field, rule *fieldRule) {
	rule.changedAs = texts(f.ChangedAs)
	if f.ChangedAs != nil {
		return
	}
	for _, p := range rule.paths {
		if p.JQ != nil {
			rule.changedAs = append(rule.changedAs, p.JQ.Reads.Names...)
			rule.changesAny = rule.changesAny || p.JQ.Reads.Whole || len(p.JQ.Reads.Variables) > 0
		}
		if len(p.Steps) > 0 && p.Steps[0].Kind == path.Member {
			rule.changedAs = append(rule.changedAs, unescaped(p), p.Steps[0].Name)
		}
	}
}
