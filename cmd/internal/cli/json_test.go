package cli

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/ops"
	"membersync/dlq"
)

// namesOf are the names that a type has as json, in their order: a.b of an object within it, a[].b
// of each in a list.
func namesOf(typ reflect.Type, prefix string) (names []string) {
	for field := range typ.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" || !field.IsExported() && !field.Anonymous {
			continue
		}
		inner, place := field.Type, prefix+name+"."
		if inner.Kind() == reflect.Slice {
			inner, place = inner.Elem(), prefix+name+"[]."
		}
		if inner.Kind() == reflect.Pointer {
			if inner = inner.Elem(); inner.Kind() == reflect.Struct {
				names = append(names, prefix+name) // can be null
			}
		}
		switch {
		case field.Anonymous:
			names = append(names, namesOf(inner, prefix)...)
		case inner.Kind() == reflect.Struct && !inner.Implements(reflect.TypeFor[json.Marshaler]()):
			names = append(names, namesOf(inner, place)...)
		default:
			names = append(names, prefix+name)
		}
	}
	return names
}

// documented are the names in a section of JSON.md.
func documented(t *testing.T, section string) []string {
	t.Helper()
	text, err := os.ReadFile("../../JSON.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(text), "\n## "+section+"\n")
	if !found {
		t.Errorf("JSON.md has no section %s", section)
	}
	part, _, _ = strings.Cut(part, "\n## ")
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(part, -1) {
		names = append(names, row[1])
	}
	return names
}

// collapsed replaces the names within the elements of lists by the names of the lists: they are
// those of another command.
func collapsed(names []string, lists ...string) []string {
	for i, name := range names {
		if list, _, found := strings.Cut(name, "[]."); found && slices.Contains(lists, list) {
			names[i] = list
		}
	}
	return slices.Compact(names)
}

// Scripts of others go by these names: each is documented, and none is documented that is not
// there.
func TestJSONNamesAreDocumented(t *testing.T) {
	t.Parallel()
	for section, form := range map[string]any{
		"`check`": ops.Finding{}, "`version`": build{}, "`config`": settingJSON{}, "`healthcheck`": healthJSON{}, "`ui`": uiJSON{},
		"`dlq list`": ops.DeadLetter{}, "`dlq list --group-by`": ops.Group{},
		"`dlq redrive`, `dlq discard`": ops.ItemResult{}, "`pause`, `resume`": actionJSON{}, "`state show`": ops.Member{},
		"`state forget`": forgottenJSON{}, "`state rebuild`": rebuiltJSON{}, "`offsets show`, the first line": ops.GroupState{},
		"`offsets show`, a line for each partition": ops.Offset{}, "`offsets reset`": ops.Reset{}, "`replay`": ops.ReplayResult{},
		"`replay --dry-run`": ops.ReplayPlan{}, "`replay list`": ops.ReplayState{}, "`replay cancel`": canceledJSON{}, "Records of the audit topic": dlq.AuditRecord{},
	} {
		if d := cmp.Diff(namesOf(reflect.TypeOf(form), ""), documented(t, section)); d != "" {
			t.Errorf("%s (-there +documented): %s", section, d)
		}
	}
	items := namesOf(reflect.TypeFor[ops.DeadLetter](), "")
	if d := cmp.Diff(namesOf(reflect.TypeFor[ops.DeadLetterView](), ""), append(items, documented(t, "`dlq show`, `dlq export`")...)); d != "" {
		t.Errorf("dlq show (-there +documented): %s", d)
	}
	status := collapsed(namesOf(reflect.TypeFor[ops.Status](), ""), "open_dead_letters", "replays", "last_actions")
	if d := cmp.Diff(status, documented(t, "`status`")); d != "" {
		t.Errorf("status (-there +documented): %s", d)
	}
	why := namesOf(reflect.TypeFor[ops.Explanation](), "")
	why = slices.DeleteFunc(why, func(name string) bool {
		return strings.HasPrefix(name, "dead_letters[].") && name != "dead_letters[].id"
	})
	why[slices.Index(why, "dead_letters[].id")] = "dead_letters"
	if d := cmp.Diff(why, append(documented(t, "`state show`"), documented(t, "`explain`")...)); d != "" {
		t.Errorf("explain (-there +documented): %s", d)
	}
}

// map writes its lines by hand, so they are looked at as they come.
func TestJSONNamesOfMapAreDocumented(t *testing.T) {
	t.Parallel()
	there := map[string]bool{"explain": true}
	for _, name := range namesOf(reflect.TypeFor[explainedJSON](), "explain.") {
		there[name] = true
	}
	for _, message := range []string{
		`{"eventId":"e","employeeId":"E","openUserId":"F","sequence":1,"after":{"fullName":"Sample Person 1"}}`,
		`{"eventId":"e","employeeId":"E","openUserId":"F","sequence":1,"after":{"gender":"X"}}`,
	} {
		r := newRig()
		r.set("CRM_API", "object")
		r.set("CRM_OBJECT_FIELDS", "account:a,name:n,position:p,email:e,qq:q,weixin:w,attachingDepartmentIds:d,hireDate:h,birthDate:b,startWorkDate:s")
		r.app.Stdin = strings.NewReader(message)
		r.run(t, "map", "-o=json", "--explain")
		var line map[string]json.RawMessage
		if err := json.Unmarshal([]byte(r.out.String()), &line); err != nil {
			t.Fatal(err, r.errs.String())
		}
		for name := range line {
			there[name] = true
		}
	}
	names := documented(t, "`map`")
	for _, name := range names {
		if !there[name] {
			t.Errorf("%s is documented and not there", name)
		}
		delete(there, name)
	}
	if len(there) > 0 {
		t.Errorf("not documented: %v", there)
	}
}
