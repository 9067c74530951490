package mapper_test

import (
	"encoding/json"
	"strings"
	"testing"

	"membersync/crmapi"
	"membersync/mapper"
)

const phoneMapping = `
version: 1
identity: {event_id: $event.id, employee_id: $event.emp, open_user_id: $event.crm}
order: {kind: sequence, from: $event.seq}
states: {after: $event.new}
defaults: {null: ignore, empty: ignore, form: nfkc}
fields: {mobile: {from: phone, as: phone, country: "86", numbers: true}}
`

func phoneOf(m *mapper.Mapping, value string) (sent string, ok bool) {
	r := m.Map(mapper.Record{Value: []byte(`{"id":"1","emp":"E1","crm":"FSUID_TEST0001","seq":1,"new":{"phone":` + value + `}}`)})[0]
	v, ok := r.Event.Update.Get(crmapi.Mobile)
	if !ok {
		return "", false
	}
	return strings.Trim(string(v.AppendJSON(nil)), `"`), true
}

func TestPhones(t *testing.T) {
	t.Parallel()
	m := mustParse(t, phoneMapping)
	for value, want := range map[string]string{
		`"13800000001"`: "13800000001", `"138 0000 0001"`: "13800000001", `"138.0000.0001"`: "13800000001",
		`"+86 138-0000-0001"`: "13800000001", `"0086 13800000001"`: "13800000001", `"8613800000001"`: "13800000001",
		`"086-138 0000 0001"`: "13800000001", `"(+86)13800000001"`: "13800000001", `"+1 (000) 000-0001"`: "+10000000001",
		`13800000001`: "13800000001", `1.3800000001e10`: "13800000001", `"861380000000"`: "861380000000",
		`"\u200e13800000001\u200f"`: "13800000001", `"\u2066+86\u2069 138\u00ad00000001"`: "13800000001",
		// refused
		`"130xxxx1111"`: "", `"130XXXX1111"`: "", `"130****1111"`: "", `"130••••1111"`: "", `"1.38E+10"`: "", `"13800000001.0"`: "",
		`"13800000001.00"`: "", `"1,380,000"`: "", `"13800000001/13800000002"`: "", `"13800000001 13800000002"`: "",
		`"13800000001;13800000002"`: "", `"13800000001\n13800000002"`: "", `"13800000001 ext 8"`: "", `"13800000001#8"`: "",
		`"13800000001¹"`: "", `"①3800000001"`: "", `"13８0000000l"`: "", `"+44 (0)20 0000 0000"`: "", `"138+00000001"`: "",
		`"\u202e10000000831"`: "", `"tel:13800000001"`: "", `"+"`: "", `-13800000001`: "", `1.5`: "", `true`: "",
	} {
		sent, ok := phoneOf(m, value)
		if sent != want || ok != (want != "") {
			t.Errorf("%s is sent as %q, want %q", value, sent, want)
		}
	}
}

// A mobile that is read as a text is not changed, and not sent either where it is no number.
func TestMobileAsText(t *testing.T) {
	t.Parallel()
	m := mustParse(t, strings.Replace(phoneMapping, `as: phone, country: "86", numbers: true`, "trim: true", 1))
	for value, want := range map[string]string{
		`"+86 138 0000 0001"`: "+86 138 0000 0001", `"130xxxx1111"`: "", `"1.38E+10"`: "", `"138\u200b00000001"`: "", `"13800000001.0"`: "",
	} {
		if sent, _ := phoneOf(m, value); sent != want {
			t.Errorf("%s is sent as %q, want %q", value, sent, want)
		}
	}
}

// FuzzPhone: what is sent are the digits that were given, in their order, without a known prefix.
func FuzzPhone(f *testing.F) {
	for _, text := range []string{"+86 138-0000-0001", "0086138", "130xxxx1111", "1.38E+10", "\u202d138\u202c", "１３８", "(0)1", "138.0000.0001", "086 1", "٠١"} {
		f.Add(text)
	}
	m := mustParse(f, phoneMapping)
	f.Fuzz(func(t *testing.T, text string) {
		quoted := jsonText(text)
		sent, ok := phoneOf(m, quoted)
		if !ok {
			return
		}
		given := strings.Map(func(r rune) rune {
			switch {
			case r >= '0' && r <= '9':
				return r
			case r >= '０' && r <= '９':
				return '0' + r - '０'
			}
			return -1
		}, text)
		digits := strings.TrimPrefix(sent, "+")
		if given != digits && given != "86"+digits && given != "0086"+digits && given != "086"+digits {
			t.Errorf("%q is sent as %q", text, sent)
		}
		if strings.ContainsAny(text, "*xX#,/;eE") {
			t.Errorf("%q is sent as %q", text, sent)
		}
	})
}

// jsonText is a text as JSON; what is not UTF-8 is replaced.
func jsonText(text string) string {
	quoted, err := json.Marshal(strings.ToValidUTF8(text, "?"))
	if err != nil {
		return `""`
	}
	return string(quoted)
}
