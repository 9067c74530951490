package crmapi

// A Field is a member field of the Modify Member API that an update can set. The numbers are
// internal: only the API's names are stored and logged.
type Field uint8

// The member fields, in the order of the API's page.
const (
	Account Field = iota
	Name
	FullName
	Position
	Gender
	Mobile
	Email
	QQ
	Weixin
	MainDepartmentID
	AttachingDepartmentIDs
	EmployeeNumber
	HireDate
	BirthDate
	StartWorkDate
	LeaderID
	numFields
)

// NumFields is the number of member fields.
const NumFields = int(numFields)

// A Kind is the JSON type of a member field.
type Kind uint8

// The kinds of member fields.
const (
	KindText Kind = iota // a JSON string
	KindInt              // a JSON integer
	KindInts             // a JSON array of integers
)

// String returns the API's name of the field, or "unknown" if f is not a field.
func (f Field) String() string {
	if f >= numFields {
		return "unknown"
	}
	return fieldName(f)
}

// Kind returns the JSON type of the field.
func (f Field) Kind() Kind {
	if f == MainDepartmentID {
		return KindInt
	}
	if f == AttachingDepartmentIDs {
		return KindInts
	}
	return KindText
}

// ParseField returns the member field with the API's name, and whether there is one. Names are
// case-sensitive.
func ParseField(name string) (Field, bool) {
	for f := range numFields {
		if fieldName(f) == name {
			return f, true
		}
	}
	return numFields, false
}

func fieldName(f Field) string {
	return [...]string{
		"account", "name", "fullName", "position", "gender", "mobile", "email", "qq", "weixin",
		"mainDepartmentId", "attachingDepartmentIds", "employeeNumber",
		"hireDate", "birthDate", "startWorkDate", "leaderId",
	}[f]
}
