package crmapi

import (
	"errors"
	"fmt"
	"strings"
)

// An Object defines how an update is written for the object API. That API is to replace the user
// object; it has other field names and other types. An Object is immutable. The zero value has no
// names; [ParseObject] returns a usable one.
type Object struct{ fields [numFields]objectField }

// An objectField describes one member field in the object API.
type objectField struct {
	name         string // empty if it is not known
	form         objectForm
	male, female string // the values for M and F; empty if they are M and F
}

// An objectForm is how the object API writes a value.
type objectForm uint8

const (
	formText  objectForm = iota // a text
	formLong                    // a number; null for a cleared date
	formTexts                   // a list of texts: one for a single value, empty for a cleared field
	formLongs                   // a list of numbers, with the same rule
)

// forms returns the names of the forms. The index of a name is its objectForm.
func forms() []string { return []string{"text", "long", "texts", "longs"} }

// accepts reports whether the form can represent every value of the field.
func (form objectForm) accepts(f Field) bool {
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

// publishedObject returns the names that the vendor has published. It sets the matching forms for
// all fields, including those without a published name.
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

// ParseObject parses rows such as "position:position,hireDate:hire_date:long,gender:sex:M=1/F=2".
// The parts of a row are:
//
//  1. the member field;
//  2. its name in the object API;
//  3. optional: its form there (text, long, texts, longs), if it is not the usual one. For gender
//     it can also be the values of M and F.
//
// The rows are added to the published names and replace them. The error reports all faults at once.
// A fault in a row is a [*RowError].
func ParseObject(text string) (Object, error) {
	o, hasRow := publishedObject(), make(map[Field]bool)
	if strings.TrimSpace(text) == "" {
		return o, nil
	}
	var faults []error
	for i, item := range strings.Split(text, ",") {
		f, problem := o.addRow(strings.TrimSpace(item))
		if problem == "" && hasRow[f] {
			problem = "duplicate field"
		}
		hasRow[f] = true
		if problem != "" {
			faults = append(faults, &RowError{Row: i + 1, Text: item, Problem: problem})
		}
	}
	if len(faults) == 0 {
		faults = o.duplicateNames()
	}
	return o, errors.Join(faults...)
}

// addRow parses one row and applies it. It returns the row's field and what is wrong with the row.
func (o *Object) addRow(item string) (f Field, problem string) {
	parts := strings.Split(item, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return numFields, "want field:name or field:name:form"
	}
	f, ok := ParseField(parts[0])
	if !ok {
		return numFields, "unknown member field"
	}
	if !isObjectName(parts[1]) {
		return f, "the name must consist of a-z, A-Z, 0-9 and _, and must not be _id or dataObjectApiName"
	}
	field := &o.fields[f]
	field.name = parts[1]
	if len(parts) == 3 {
		return f, field.setForm(f, parts[2])
	}
	return f, ""
}

// setForm parses the third part of a row and applies it. It returns what is wrong with it.
func (field *objectField) setForm(f Field, text string) (problem string) {
	if male, female, ok := strings.Cut(text, "/"); f == Gender && ok {
		var okMale, okFemale bool
		field.male, okMale = strings.CutPrefix(male, "M=")
		field.female, okFemale = strings.CutPrefix(female, "F=")
		if !okMale || !okFemale || field.male == "" || field.female == "" || field.male == field.female {
			return "want M=value/F=value with two different values"
		}
		return ""
	}
	for form, name := range forms() {
		if name == text && objectForm(form).accepts(f) {
			field.form = objectForm(form)
			return ""
		}
	}
	return "this form is not valid for the field"
}

func isObjectName(name string) bool {
	illegal := func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	return name != "" && name != "_id" && name != "dataObjectApiName" && !strings.ContainsFunc(name, illegal)
}

// duplicateNames returns a fault for each name that two fields have in common.
func (o *Object) duplicateNames() (faults []error) {
	seen := make(map[string]Field)
	for i, field := range o.fields {
		f := Field(i)
		if other, ok := seen[field.name]; ok && field.name != "" {
			faults = append(faults, fmt.Errorf("the fields %s and %s have the same name %q", other, f, field.name))
		}
		seen[field.name] = f
	}
	return faults
}

// Equal reports whether both objects write every update the same way.
func (o Object) Equal(p Object) bool { return o == p }

// Name returns the name of a field in the object API, or "" if it is not known.
func (o Object) Name(f Field) string { return o.fields[f].name }

// AppendJSON appends the update as the object_data of the object API. It panics if a field of the
// update has no name. The caller must have made sure that every field has one.
func (o Object) AppendJSON(b []byte, u Update) []byte {
	b = appendString(append(b, `{"dataObjectApiName":"PersonnelObj","_id":`...), u.OpenUserID)
	for f, v := range u.All() {
		field := o.fields[f]
		if field.name == "" {
			panic("crmapi: no object API name for field " + f.String())
		}
		b = append(append(append(b, ',', '"'), field.name...), '"', ':')
		b = field.append(b, v)
	}
	return append(b, '}')
}

// append appends the value in the form of the field.
func (field objectField) append(b []byte, v Value) []byte {
	texts := v.texts()
	if field.male != "" && len(texts) == 1 {
		texts[0] = map[string]string{"M": field.male, "F": field.female}[texts[0]]
	}
	switch field.form {
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
		if field.form == formLongs {
			b = append(b, text...)
			continue
		}
		b = appendString(b, text)
	}
	return append(b, ']')
}

// texts returns the contents of a value as texts. It returns none if the value clears its field.
func (v Value) texts() []string {
	switch {
	case v.IsEmpty():
		return nil
	case v.kind == KindInts:
		return strings.Split(strings.Trim(v.text, "[]"), ",")
	}
	return []string{v.text}
}
