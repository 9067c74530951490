package crmapi

import (
	"errors"
	"fmt"
	"strings"
)

// An Object says how an update is written for the object API, which is to replace the user object: under other names, with
// other types. It is immutable. The zero value has no names; [ParseObject] makes one.
type Object struct{ fields [numFields]objectField }

// An objectField is a member field in the object API.
type objectField struct {
	name         string // empty: not known
	form         objectForm
	male, female string // what M and F are there; empty: M and F
}

type objectForm uint8

const (
	formText  objectForm = iota // a text
	formLong                    // a number; null for a cleared date
	formTexts                   // a list of texts; one for a single value, none for a cleared one
	formLongs                   // a list of numbers, in the same way
)

// forms lists the names of the forms, each at its number.
func forms() []string { return []string{"text", "long", "texts", "longs"} }

// fits reports whether every value of the field can be written in the form.
func (form objectForm) fits(f Field) bool {
	switch form {
	case formText:
		return f.Kind() != KindInts
	case formLong:
		return f.Kind() == KindInt || f.isDate()
	case formTexts:
		return true
	case formLongs:
		return f.Kind() != KindText
	}
	return false
}

func (f Field) isDate() bool { return f == HireDate || f == BirthDate || f == StartWorkDate }

// publishedObject holds the names that the vendor's pages tell, and for all fields the forms that go with them.
func publishedObject() Object {
	var o Object
	for f, name := range map[Field]string{
		FullName: "full_name", Gender: "sex", Mobile: "phone", MainDepartmentID: "main_department",
		EmployeeNumber: "employee_number", LeaderID: "leader",
	} {
		o.fields[f].name = name
	}
	for _, f := range []Field{HireDate, BirthDate, StartWorkDate} {
		o.fields[f].form = formLong
	}
	for _, f := range []Field{MainDepartmentID, AttachingDepartmentIDs, LeaderID} {
		o.fields[f].form = formTexts
	}
	return o
}

// ParseObject reads rows such as "position:position,hireDate:hire_date:long,gender:sex:M=1/F=2": a member field, its name
// in the object API and, if that is not the usual one, its form there (text, long, texts, longs) or what M and F are. They
// come on top of the names that are published. All faults are reported at once, each a [*RowError].
func ParseObject(text string) (Object, error) {
	o, given := publishedObject(), make(map[Field]bool)
	if strings.TrimSpace(text) == "" {
		return o, nil
	}
	var faults []error
	for i, item := range strings.Split(text, ",") {
		f, problem := o.row(strings.TrimSpace(item))
		if problem == "" && given[f] {
			problem = "the field has a row already"
		}
		given[f] = true
		if problem != "" {
			faults = append(faults, &RowError{Row: i + 1, Text: item, Problem: problem})
		}
	}
	if len(faults) == 0 {
		faults = o.twice()
	}
	return o, errors.Join(faults...)
}

// row adds a row.
func (o *Object) row(item string) (f Field, problem string) {
	parts := strings.Split(item, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return numFields, "want field:name or field:name:form"
	}
	f, ok := ParseField(parts[0])
	if !ok {
		return numFields, "there is no such member field"
	}
	if !isObjectName(parts[1]) {
		return f, "the name should be letters, digits and underscores, and neither _id nor dataObjectApiName"
	}
	to := &o.fields[f]
	to.name = parts[1]
	if len(parts) == 3 {
		return f, to.as(f, parts[2])
	}
	return f, ""
}

// as reads the third part of a row.
func (to *objectField) as(f Field, text string) (problem string) {
	if male, female, ok := strings.Cut(text, "/"); f == Gender && ok {
		var okMale, okFemale bool
		to.male, okMale = strings.CutPrefix(male, "M=")
		to.female, okFemale = strings.CutPrefix(female, "F=")
		if !okMale || !okFemale || to.male == "" || to.female == "" || to.male == to.female {
			return "want M=one/F=another"
		}
		return ""
	}
	for form, name := range forms() {
		if name == text && objectForm(form).fits(f) {
			to.form = objectForm(form)
			return ""
		}
	}
	return "the field cannot have that form"
}

func isObjectName(name string) bool {
	illegal := func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	return name != "" && name != "_id" && name != "dataObjectApiName" && !strings.ContainsFunc(name, illegal)
}

// twice finds names that two fields have.
func (o *Object) twice() (faults []error) {
	seen := make(map[string]Field)
	for i, to := range o.fields {
		f := Field(i)
		if other, ok := seen[to.name]; ok && to.name != "" {
			faults = append(faults, fmt.Errorf("%s and %s have the same name %q", other, f, to.name))
		}
		seen[to.name] = f
	}
	return faults
}

// Equal reports whether both write every update alike.
func (o Object) Equal(p Object) bool { return o == p }

// Name returns a field's name in the object API, empty if it is not known.
func (o Object) Name(f Field) string { return o.fields[f].name }

// AppendJSON appends the update as the object API's object_data. It panics if a field of it has no name, which the caller
// has made sure of.
func (o Object) AppendJSON(b []byte, u Update) []byte {
	b = appendString(append(b, `{"dataObjectApiName":"PersonnelObj","_id":`...), u.OpenUserID)
	for _, s := range u.settings {
		to := o.fields[s.field]
		if to.name == "" {
			panic("crmapi: no name in the object API for " + s.field.String())
		}
		b = append(append(append(b, ',', '"'), to.name...), '"', ':')
		b = to.append(b, s.value)
	}
	return append(b, '}')
}

// append appends a value in the form of the field.
func (to objectField) append(b []byte, v Value) []byte {
	texts := v.texts()
	if to.male != "" && len(texts) == 1 {
		texts[0] = map[string]string{"M": to.male, "F": to.female}[texts[0]]
	}
	switch to.form {
	case formText:
		return appendString(b, strings.Join(texts, ""))
	case formLong:
		if len(texts) == 0 {
			return append(b, "null"...)
		}
		return append(b, texts[0]...)
	case formTexts, formLongs:
	}
	b = append(b, '[')
	for i, text := range texts {
		if i > 0 {
			b = append(b, ',')
		}
		if to.form == formLongs {
			b = append(b, text...)
			continue
		}
		b = appendString(b, text)
	}
	return append(b, ']')
}

// texts are the contents of a value, none if it clears its field.
func (v Value) texts() []string {
	if v.kind == KindText {
		if v.text == "" {
			return nil
		}
		return []string{v.text}
	}
	texts := make([]string, len(v.ints))
	for i, n := range v.ints {
		texts[i] = fmt.Sprint(n)
	}
	return texts
}
