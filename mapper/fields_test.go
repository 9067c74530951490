package mapper_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi"
	"membersync/mapper"
)

// TestMapFields walks the rules of the API for each field: what is sent, or what is wrong.
func TestMapFields(t *testing.T) {
	t.Parallel()
	tests := []struct {
		field       crmapi.Field
		json        string
		want, fault string
	}{
		{crmapi.Account, `"007"`, `"007"`, ""},
		{crmapi.Name, `" Sample\u0000\n "`, `" Sample\u0000\n "`, ""},
		{crmapi.FullName, `"Sample \ud83d\ude00"`, `"Sample 😀"`, ""},
		{crmapi.Position, `"  "`, `"  "`, ""},
		{crmapi.EmployeeNumber, `100`, "", "is a number, not a text"},
		{crmapi.Email, `true`, "", "is true or false, not a text"},
		{crmapi.QQ, `["1"]`, "", "is a list, not a text"},
		{crmapi.Weixin, `{"a":1}`, "", "is an object, not a text"},
		{crmapi.LeaderID, `"FSUID_TEST0002"`, `"FSUID_TEST0002"`, ""},

		{crmapi.Gender, `"M"`, `"M"`, ""},
		{crmapi.Gender, `"F"`, `"F"`, ""},
		{crmapi.Gender, `"m"`, "", "is neither M nor F"},
		{crmapi.Gender, `"male"`, "", "is neither M nor F"},
		{crmapi.Gender, `1`, "", "is neither M nor F"},
		{crmapi.Gender, `true`, "", "is true or false, not a text"},
		{crmapi.Gender, `["M"]`, "", "is a list, not a text"},

		{crmapi.Mobile, `"+86 000-0000-0001"`, `"+86 000-0000-0001"`, ""},
		{crmapi.Mobile, `"000****0001"`, "", "is masked"},
		{crmapi.Mobile, `"000＊＊＊＊0001"`, "", "is masked"},
		{crmapi.Mobile, `1`, "", "is a number, not a text"},

		{crmapi.MainDepartmentID, `1000`, `1000`, ""},
		{crmapi.MainDepartmentID, `"1000"`, `1000`, ""},
		{crmapi.MainDepartmentID, `10042.0`, `10042`, ""},
		{crmapi.MainDepartmentID, `1e3`, `1000`, ""},
		{crmapi.MainDepartmentID, `9007199254740993`, `9007199254740993`, ""},
		{crmapi.MainDepartmentID, `9223372036854775807`, `9223372036854775807`, ""},
		{crmapi.MainDepartmentID, `9223372036854775808`, "", "is out of range"},
		{crmapi.MainDepartmentID, `"9223372036854775808"`, "", "is out of range"},
		{crmapi.MainDepartmentID, `1e400`, "", "is out of range"},
		{crmapi.MainDepartmentID, `1.5`, "", "is not an integer"},
		{crmapi.MainDepartmentID, `"0100"`, "", "is not an integer"},
		{crmapi.MainDepartmentID, `"1e3"`, "", "is not an integer"},
		{crmapi.MainDepartmentID, `"+1"`, "", "is not an integer"},
		{crmapi.MainDepartmentID, `"-0"`, "", "is not an integer"},
		{crmapi.MainDepartmentID, `" 1"`, "", "is not an integer"},
		{crmapi.MainDepartmentID, `[1]`, "", "is a list, not an integer"},

		{crmapi.AttachingDepartmentIDs, `[3, 1,"2",0,3]`, `[3,1,2,0,3]`, ""},
		{crmapi.AttachingDepartmentIDs, `[9007199254740993]`, `[9007199254740993]`, ""},
		{crmapi.AttachingDepartmentIDs, `[1,-1]`, "", "entry 1 is negative"},
		{crmapi.AttachingDepartmentIDs, `[1,2,null]`, "", "entry 2 is the JSON null, not an integer"},
		{crmapi.AttachingDepartmentIDs, `[[1]]`, "", "entry 0 is a list, not an integer"},
		{crmapi.AttachingDepartmentIDs, `["x"]`, "", "entry 0 is not an integer"},
		{crmapi.MainDepartmentID, `{"scale":0,"value":"J0I="}`, `10050`, ""}, // VariableScaleDecimal
		{crmapi.AttachingDepartmentIDs, `1000`, "", "is a number, not a list"},
		{crmapi.AttachingDepartmentIDs, `"1000"`, "", "is a text, not a list"},
		{crmapi.AttachingDepartmentIDs, list(500), list(500), ""},
		{crmapi.AttachingDepartmentIDs, list(501), "", "has more than 500 entries"},

		{crmapi.HireDate, `"2023-03-16T00:00:00Z"`, `"1678924800000"`, ""},
		{crmapi.HireDate, `"2023-03-16T08:00:00.9999+08:00"`, `"1678924800999"`, ""},
		{crmapi.HireDate, `"2023-03-16"`, `"1678896000000"`, ""},
		{crmapi.HireDate, `1678924800000`, `"1678924800000"`, ""},
		{crmapi.HireDate, `1.6789248e12`, `"1678924800000"`, ""},
		{crmapi.HireDate, `"1678924800000"`, `"1678924800000"`, ""},
		{crmapi.HireDate, `"1678924800000.0"`, `"1678924800000"`, ""},
		{crmapi.HireDate, `"2023-03-16+09:00"`, `"1678892400000"`, ""},
		{crmapi.HireDate, `"2023-03-16Z"`, `"1678896000000"`, ""}, // a day as isostring writes it
		{crmapi.BirthDate, `"1969-12-31T23:59:59.9Z"`, `"-100"`, ""},
		{crmapi.BirthDate, `-100`, `"-100"`, ""},
		{crmapi.BirthDate, `"-100"`, `"-100"`, ""},
		{crmapi.BirthDate, `"9999-12-31"`, `"253402185600000"`, ""},
		{crmapi.BirthDate, `"0001-01-01"`, "", "is not within the years 1 to 9999"},
		{crmapi.BirthDate, `1678924800000000`, "", "is not within the years 1 to 9999"},
		{crmapi.StartWorkDate, `"2023-02-29"`, "", "is not a time written as rfc3339, date or a number of ms"},
		{crmapi.StartWorkDate, `"2023-3-16"`, "", "is not a time written as rfc3339, date or a number of ms"},
		{crmapi.StartWorkDate, `"2023-03-16T00:00:00"`, "", "is not a time written as rfc3339, date or a number of ms"},
		{crmapi.StartWorkDate, `"2023-03-16T00:00:00+0800"`, "", "is not a time written as rfc3339, date or a number of ms"},
		{crmapi.StartWorkDate, `"16.03.2023"`, "", "is not a time written as rfc3339, date or a number of ms"},
		{crmapi.StartWorkDate, `["2023-03-16"]`, "", "is a list, not a time"},
		{crmapi.StartWorkDate, `0.5`, "", "is not an integer"},
		{crmapi.StartWorkDate, `true`, "", "is true or false, not a time"},
	}
	m := builtin(t, "canonical", options())
	for _, tt := range tests {
		t.Run(tt.field.String()+tt.json, func(t *testing.T) {
			t.Parallel()
			got := only(t, m, record(envelope(`"after":{"`+tt.field.String()+`":`+tt.json+`}`)))
			if tt.fault != "" {
				wantFault(t, got, mapper.InvalidField, "map", "after."+tt.field.String()+" "+tt.fault)
				return
			}
			if got.Fault != nil {
				t.Fatal(got.Fault)
			}
			v, _ := got.Event.Update.Get(tt.field)
			if sent := string(v.AppendJSON(nil)); got.Event.Update.Len() != 1 || sent != tt.want {
				t.Errorf("sent %s, want %s", sent, tt.want)
			}
		})
	}
}

func list(n int) string { return "[" + strings.Repeat("7,", n-1) + "7]" }

// TestMapClears: only some fields can be emptied, whatever the word for it is.
func TestMapClears(t *testing.T) {
	t.Parallel()
	clearable := map[crmapi.Field]bool{
		crmapi.Position: true, crmapi.Email: true, crmapi.QQ: true, crmapi.Weixin: true, crmapi.AttachingDepartmentIDs: true,
	}
	m := builtin(t, "canonical", options())
	for f := range crmapi.Field(crmapi.NumFields) {
		for _, word := range []string{"null", `""`} {
			t.Run(f.String()+word, func(t *testing.T) {
				t.Parallel()
				got := only(t, m, record(envelope(`"after":{"`+f.String()+`":`+word+`}`)))
				if !clearable[f] {
					wantFault(t, got, mapper.InvalidField, "map", "after."+f.String()+" cannot be cleared")
					return
				}
				v, ok := got.Event.Update.Get(f)
				if got.Fault != nil || !ok || !v.IsEmpty() || v.Kind() != f.Kind() {
					t.Errorf("fault %v, set %t, want an empty value", got.Fault, ok)
				}
			})
		}
	}
}

func TestMapDateWithoutZone(t *testing.T) {
	t.Parallel()
	opts := options()
	opts.Zone = nil
	m := builtin(t, "canonical", opts)
	got := only(t, m, record(envelope(`"before":{"birthDate":"2000-01-01"},"after":{"hireDate":"2023-03-16"}`)))
	wantFault(t, got, mapper.InvalidField, "map", "after.hireDate is without a zone, and no zone is configured")

	got = only(t, m, record(envelope(`"before":{"hireDate":"2023-03-16"},"after":{"hireDate":"2023-03-16"}`)))
	if got.Fault != nil || got.Event.Update.Len() != 0 {
		t.Errorf("fault %v, want an unchanged date to do no harm", got.Fault)
	}
}

// TestMapComparesNormalized: the old and the new value may be spelled in different ways.
func TestMapComparesNormalized(t *testing.T) {
	t.Parallel()
	got := only(t, builtin(t, "canonical", options()), record(envelope(
		`"before":{"hireDate":"2023-03-16","birthDate":0,"mainDepartmentId":"1000","attachingDepartmentIds":[1,2]},`+
			`"after":{"hireDate":"1678896000000","birthDate":"1970-01-01T08:00:00+08:00","mainDepartmentId":1e3,"attachingDepartmentIds":["1",2.0]}`)))
	if got.Fault != nil || got.Event.Update.Len() != 0 {
		t.Errorf("fault %v, update %v, want nothing changed", got.Fault, got.Event.Update)
	}
}

// TestMapTellsTheFirstFault: in the order of the API's page, not of the payload.
func TestMapTellsTheFirstFault(t *testing.T) {
	t.Parallel()
	value := envelope(`"after":{"hireDate":"x","mobile":1,"gender":"X"}`)
	got := only(t, builtin(t, "canonical", options()), record(value))
	want := &mapper.Fault{
		Reason: mapper.InvalidField, Path: "after.gender", Text: "is neither M nor F",
		Offset: int64(strings.Index(value, `"X"`)),
	}
	if diff := cmp.Diff(want, got.Fault); diff != "" {
		t.Errorf("fault (-want +got):\n%s", diff)
	}
	if want := "(byte " + strconv.FormatInt(want.Offset, 10) + ")"; !strings.HasSuffix(got.Fault.Error(), want) {
		t.Errorf("error %q, want it to end with %s", got.Fault, want)
	}
}
