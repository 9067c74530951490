package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lookedUp is a mapping file whose ids come from a table and from Redis, with an example.
const lookedUp = `version: 1
identity: {event_id: $event.id, employee_id: $event.who, open_user_id: {from: $event.who, lookup: members}}
order: {kind: sequence, from: $event.seq}
states: {after: $event.is, before: $event.was}
lookups:
  members: {redis: crm-members}
  units: {file: units.csv}
fields:
  position: title
  mainDepartmentId: {from: unit, lookup: units}
examples:
  - name: another title
    lookups: {members: {E1: FSUID_TEST0001}}
    value: '{"id":"e1","who":"E1","seq":1,"is":{"title":"Lead"}}'
    out:
      - {outcome: update, user: {openUserId: FSUID_TEST0001, position: Lead}}
`

const lookedUpEvent = `{"id":"e1","who":"E1","seq":1,"was":{"title":"Lead"},"is":{"title":"Lead","unit":"Sales"}}`

func withMapping(r *rig) {
	r.files["maps/hr.yaml"] = lookedUp
	r.files["maps/units.csv"] = "hr,crm\nSales,1000\n"
	r.app.Stdin = strings.NewReader(lookedUpEvent)
}

// A mapping file is read with the tables that it names; entries of Redis are given by hand.
func TestMapByFile(t *testing.T) {
	t.Parallel()
	r := newRig()
	withMapping(r)
	if status := r.run(t, "map", "--mapping=maps/hr.yaml", "--lookup=members:E1=FSUID_TEST0001"); status != exitDone {
		t.Errorf("status %d", status)
	}
	r.want(t, "INDEX  EMPLOYEE  EVENT  OUTCOME  DETAIL\n"+
		`0      E1        e1     update   {"openUserId":"FSUID_TEST0001","mainDepartmentId":1000}`+"\n", "")
	r = newRig()
	withMapping(r)
	if status := r.run(t, "map", "--mapping=maps/hr.yaml"); status != exitFailed {
		t.Errorf("status %d", status)
	}
	r.want(t, "INDEX  EMPLOYEE  EVENT  OUTCOME   DETAIL\n"+
		`0      E1        e1     rejected  unresolved_reference: who is not in lookup members (byte 17)`+"\n",
		"membersync map: lookup members is kept in Redis, which map does not ask; --lookup members:KEY=VALUE stands in for an entry\n")
}

// An entry that nothing would read is refused: its lookup is unknown, or not kept in Redis.
func TestMapRefusesLookups(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--mapping=maps/hr.yaml --lookup=memers:hushhush=1": `membersync map: --lookup: mapping maps/hr.yaml has no lookup "memers" in Redis; ` +
			"those there: members; did you mean members?\n",
		"--mapping=maps/hr.yaml --lookup=units:Sales=1 --lookup=units:HR=2": `membersync map: --lookup: mapping maps/hr.yaml has no lookup "units" in Redis; ` +
			"those there: members\n",
		"--lookup=members:E1=1": `membersync map: --lookup: mapping canonical has no lookup "members" in Redis; it has none there` + "\n",
	} {
		r := newRig()
		withMapping(r)
		if status := r.run(t, append([]string{"map"}, strings.Fields(args)...)...); status != exitUsage {
			t.Errorf("%s: status %d", args, status)
		}
		r.want(t, "", want)
	}
}

func TestMapExplains(t *testing.T) {
	t.Parallel()
	r := newRig()
	withMapping(r)
	if status := r.run(t, "map", "--explain", "--mapping=maps/hr.yaml", "--lookup=members:E1=FSUID_TEST0001"); status != exitDone {
		t.Errorf("status %d", status)
	}
	r.want(t, `INDEX  EMPLOYEE  EVENT  OUTCOME  DETAIL
0      E1        e1     update   {"openUserId":"FSUID_TEST0001","mainDepartmentId":1000}
  event_id          $event.id                  e1
  employee_id       $event.who                 E1
  open_user_id      $event.who                 E1
  open_user_id      lookup members             FSUID_TEST0001
  order             $event.seq                 1
  position          title                      "Lead"
                    the same before and after  -
  mainDepartmentId  unit                       "Sales"
                    lookup units               1000
                    read as int                1000
                    sent                       1000
`, "")
}

// A mistyped field is no change. Its name is shown, and never its value.
func TestMapExplainsWhatIsNotRead(t *testing.T) {
	t.Parallel()
	event := strings.Replace(sample, `"after":{`, `"after":{"posiiton":"canary","x":{"y":"canary"},`, 1)
	for output, want := range map[string]string{"table": "  posiiton, x\n", "json": `,"unread":["posiiton","x"]}}`} {
		r := newRig()
		r.app.Stdin = strings.NewReader(event)
		if status := r.run(t, "map", "--explain", "-o", output); status != exitDone || !strings.Contains(r.out.String(), want) || strings.Contains(r.out.String(), "canary") {
			t.Errorf("status %d: %s", status, r.out)
		}
	}
	r := newRig()
	r.app.Stdin = strings.NewReader(sample)
	if r.run(t, "map", "--explain"); strings.Contains(r.out.String(), "no path has these") {
		t.Error(r.out)
	}
}

// The json form is that of map, and explain.
func TestMapExplainsInJSON(t *testing.T) {
	t.Parallel()
	r := newRig()
	withMapping(r)
	r.app.Stdin = strings.NewReader(strings.Replace(lookedUpEvent, `"Sales"`, `"Other"`, 1))
	if status := r.run(t, "map", "--explain", "-o=json", "--mapping=maps/hr.yaml", "--lookup=members:E1=FSUID_TEST0001"); status != exitFailed {
		t.Errorf("status %d", status)
	}
	var got struct {
		Outcome string
		Explain struct {
			Parts  []map[string]string
			Fields []map[string]any
		}
	}
	if err := json.Unmarshal([]byte(r.out.String()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Outcome != "rejected" || len(got.Explain.Parts) != 5 {
		t.Errorf("%+v", got)
	}
	want := map[string]any{
		"name": "mainDepartmentId", "path": "unit", "raw": "Other", "reason": "is not in lookup units",
		"steps": []any{map[string]any{"step": "lookup units"}},
	}
	if d := cmp.Diff(want, got.Explain.Fields[len(got.Explain.Fields)-1]); d != "" {
		t.Error(d)
	}
}

// With the object API, what would be sent is object_data; a mapping whose fields have no names
// there is refused.
func TestMapForTheObjectAPI(t *testing.T) {
	t.Parallel()
	const object = `{"dataObjectApiName":"PersonnelObj","_id":"FSUID_TEST0001","main_department":["1000"]}`
	for output, want := range map[string]string{"table": "update   " + object, "json": `"mainDepartmentId":1000},"object_data":` + object + "}"} {
		r := newRig()
		withMapping(r)
		status := r.run(t, "map", "--mapping=maps/hr.yaml", "--lookup=members:E1=FSUID_TEST0001", "--crm-api=object", "--crm-object-fields=position:title", "-o", output)
		if status != exitDone || !strings.Contains(r.out.String(), want) {
			t.Errorf("status %d, %s%s", status, r.out, r.errs)
		}
	}
	r := newRig()
	withMapping(r)
	if status := r.run(t, "map", "--mapping=maps/hr.yaml", "--crm-api=object"); status != exitUsage {
		t.Errorf("status %d", status)
	}
	r.want(t, "", "membersync map: crm.object_fields lacks names in the object API for fields of the mapping: position\n")
}

// Built-in mappings are taken by name, and explain too.
func TestMapBuiltins(t *testing.T) {
	t.Parallel()
	for mapping, event := range map[string]string{
		"canonical":   sample,
		"cloudevents": `{"specversion":"1.0","id":"e1","source":"/hr","type":"employee.changed","sequence":"7","time":"2026-11-22T08:00:00Z","data":{"employeeId":"E1","openUserId":"FSUID_TEST0001","after":{"position":"Lead"}}}`,
		"debezium":    `{"op":"u","source":{"lsn":7,"ts_ms":1,"txId":1},"ts_ms":1,"before":null,"after":{"employeeId":"E1","openUserId":"FSUID_TEST0001","position":"Lead"}}`,
	} {
		for _, explain := range []string{"--explain", "-o=table"} {
			r := newRig()
			r.app.Stdin = strings.NewReader(event)
			if status := r.run(t, "map", "--mapping="+mapping, explain, "--timestamp=2026-11-22T08:00:00Z"); status != exitDone {
				t.Errorf("%s %s: status %d, %s%s", mapping, explain, status, r.out, r.errs)
			}
		}
	}
}

// All faults of a mapping are told, with their places and the nearest known names, and end the
// command with 2.
func TestMappingFaults(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"map", "check", "run"} {
		r := newService(t)
		r.files["bad.yaml"] = strings.NewReplacer("position:", "positio:", "lookup: units", "lookup: unit", "$event.seq", "$evnt.seq").Replace(lookedUp)
		if status := r.run(t, command, "--mapping=bad.yaml"); status != exitUsage {
			t.Errorf("%s: status %d", command, status)
		}
		for _, want := range []string{
			`bad.yaml:3:31: path "$evnt.seq" begins with a $ but with none of $event, $item, $after, $before, $key, $header, $ce; ` +
				`a name that begins with one is written \$; is $event meant?`,
			`bad.yaml:9:3: "positio" is no member field; is position meant?`,
			`bad.yaml:10:42: "unit" is no lookup of this file; is units meant?`,
		} {
			if !strings.Contains(r.errs.String(), "membersync "+command+": "+want) {
				t.Errorf("%s: %s lacks %q", command, r.errs, want)
			}
		}
	}
}

// A table that cannot be used is a fault of the configuration, told at the lookup that names it.
func TestTableFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":               "open maps/units.csv: file does not exist",
		"hr,crm\n":       "maps/units.csv: it holds no entry",
		"hr,crm\nX,\n":   "maps/units.csv:2: has an empty value",
		"hr,crm\nX,\xff": "maps/units.csv:2: is not valid UTF-8",
	} {
		r := newRig()
		withMapping(r)
		r.files["maps/units.csv"] = text
		if text == "" {
			delete(r.files, "maps/units.csv")
		}
		if status := r.run(t, "map", "--mapping=maps/hr.yaml"); status != exitUsage {
			t.Errorf("status %d", status)
		}
		r.want(t, "", "membersync map: maps/hr.yaml:7:3: lookup units: "+want+"\n")
	}
}

// runChecks runs the examples of the mapping and shows how those that fail differ; the other checks
// are made all the same.
func TestCheckRunsExamples(t *testing.T) {
	t.Parallel()
	wrong := strings.Replace(lookedUp, "position: Lead}", "position: Boss}", 1)
	for _, tc := range []struct {
		mapping, output string
		status          int
		want            string
	}{
		{lookedUp, "table", exitDone, "mapping        ok       maps/hr.yaml, 1 example passes\nkafka          ok"},
		{wrong, "table", exitFailed, "mapping        failed   maps/hr.yaml, 1 of its 1 examples fail\n" +
			"example        failed   maps/hr.yaml:12 another title (- wanted, + came)\n" +
			"  - employee 0  user.position  \"Boss\"\n  + employee 0  user.position  \"Lead\"\nkafka          ok"},
		{wrong, "json", exitFailed, `{"check":"example","state":"failed","detail":"maps/hr.yaml:12 another title: employee 0: user.position is \"Lead\", want \"Boss\""}` +
			"\n" + `{"check":"kafka","state":"ok"`},
	} {
		r := newService(t)
		withMapping(r)
		r.files["maps/hr.yaml"] = tc.mapping
		if status := r.run(t, "check", "--mapping=maps/hr.yaml", "-o="+tc.output); status != tc.status {
			t.Errorf("status %d: %s", status, r.errs)
		}
		if !strings.Contains(r.out.String(), tc.want) {
			t.Errorf("%s lacks %s", r.out, tc.want)
		}
	}
}

// The mapping alone can be checked where there is nothing else.
func TestCheckMappingOnly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		status int
		out    string
	}{
		lookedUp: {exitDone, "mapping        ok       maps/hr.yaml, 1 example passes\n"},
		strings.Replace(lookedUp, "position: Lead}", "position: Boss}", 1): {exitFailed, "mapping        failed   maps/hr.yaml, 1 of its 1 examples fail\n"},
		strings.Replace(lookedUp, "version: 1", "version: 2", 1):           {exitUsage, "mapping        failed   maps/hr.yaml:1:10: "},
	} {
		r := newRig()
		withMapping(r)
		r.files["maps/hr.yaml"] = text
		if status := r.run(t, "check", "--mapping-only", "--mapping=maps/hr.yaml"); status != want.status || !strings.HasPrefix(r.out.String(), want.out) {
			t.Errorf("status %d: %s%s", status, r.out, r.errs)
		}
	}
}

// A sample of records shows the paths at which none has anything, such as a column that was
// renamed.
func TestCheckSample(t *testing.T) {
	t.Parallel()
	const unasked = "; 1 of these need lookups in Redis, which is not asked here\n" +
		"rejected       ok       1 of 1: unresolved_reference: who is not in lookup members\n"
	for records, want := range map[string]struct {
		status int
		out    string
	}{
		lookedUpEvent + "\n\n" + lookedUpEvent: {exitDone, "sample         ok       2 records, 0 update, 0 unchanged, 0 ignored, 2 rejected" +
			strings.NewReplacer("1 of these", "2 of these", "1 of 1", "2 of 2").Replace(unasked)},
		strings.ReplaceAll(lookedUpEvent, `"title"`, `"job_title"`): {exitFailed, "sample         ok       1 record, 0 update, 0 unchanged, 0 ignored, 1 rejected" + unasked +
			"path           failed   position: nothing at title in any record\n"},
		strings.ReplaceAll(lookedUpEvent, `"id":"e1"`, `"id":""`): {exitFailed, "sample         failed   1 record, 0 update, 0 unchanged, 0 ignored, 1 rejected\n" +
			"rejected       failed   1 of 1: invalid_event: id is empty\n"},
		"\n": {exitFailed, "sample         failed   sample.ndjson holds no records\n"},
	} {
		r := newRig()
		withMapping(r)
		r.files["sample.ndjson"] = records
		status := r.run(t, "check", "--mapping-only", "--mapping=maps/hr.yaml", "--sample=sample.ndjson")
		if status != want.status || !strings.HasSuffix(r.out.String(), want.out) || strings.Contains(r.out.String(), "Sales") {
			t.Errorf("status %d: %s%s", status, r.out, r.errs)
		}
	}
}

// Why records are rejected is listed, the most frequent reason first, in both forms and without
// values.
func TestCheckSampleListsReasons(t *testing.T) {
	t.Parallel()
	good := `{"eventId":"e1","employeeId":"E1","openUserId":"FSUID_TEST0001","sequence":1,"after":{"position":"Lead"}}`
	lines := []string{good}
	for _, change := range []struct{ old, now string }{
		{`"sequence":1`, `"sequence":-1`},
		{`"sequence":1`, `"sequence":-2`},
		{`"sequence":1`, `"sequence":-3`},
		{`"eventId":"e1",`, ""},
		{`"employeeId":"E1",`, ""},
		{`"openUserId":"FSUID_TEST0001",`, ""},
		{`"position":"Lead"`, `"gender":"canary"`},
		{`"position":"Lead"`, `"qq":[]`},
		{"}}", ""},
	} {
		lines = append(lines, strings.Replace(good, change.old, change.now, 1))
	}
	for output, want := range map[string][]string{
		"table": {"sample         ok       10 records, 1 update", "9 rejected\nrejected       ok       3 of 9: invalid_event: sequence ", "rejected       ok       1 of 9: ", "rejected       ok       and 2 more reasons\n"},
		"json":  {`{"check":"rejected","state":"ok","detail":"3 of 9: invalid_event: sequence `, `"detail":"and 2 more reasons"}`},
	} {
		r := newRig()
		r.files["sample.ndjson"] = strings.Join(lines, "\n")
		status := r.run(t, "check", "--mapping-only", "--sample=sample.ndjson", "-o", output)
		for _, text := range want {
			if !strings.Contains(r.out.String(), text) {
				t.Errorf("status %d: %s lacks %q", status, r.out, text)
			}
		}
		if strings.Contains(r.out.String(), "canary") {
			t.Errorf("%s shows a value", r.out)
		}
	}
}

// A document that goes over several lines is no sample: each line must be one value.
func TestCheckSampleOfOneDocument(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"{\n\"eventId\": \"e1\"\n}\n": true, "[\n{},\n{}\n]": true, "{\n}\n{\n}": true, "{\n}\n{}\n": true, "{\n\"eventId\": \n": false, "{}\n{}\n": false,
	} {
		r := newRig()
		r.files["sample.json"] = text
		if status := r.run(t, "check", "--mapping-only", "--sample=sample.json"); status != exitFailed {
			t.Errorf("status %d", status)
		}
		if got := strings.Contains(r.out.String(), "each line must be one value"); got != want {
			t.Errorf("%q: %s", text, r.out)
		}
	}
}

// A mapping under which every date fails is not accepted.
func TestCheckWantsAZone(t *testing.T) {
	t.Parallel()
	for zone, want := range map[string]int{"": exitFailed, "Asia/Shanghai": exitDone} {
		r := newRig()
		args := []string{"check", "--mapping-only", "--mapping=debezium"}
		if zone != "" {
			args = append(args, "--timezone="+zone)
		}
		if status := r.run(t, args...); status != want || zone == "" && !strings.Contains(r.out.String(), "MEMBERSYNC_TIMEZONE") {
			t.Errorf("zone %q: status %d: %s%s", zone, status, r.out, r.errs)
		}
	}
}

// A tombstone is ignored, unless the mapping says otherwise.
func TestMapNoValue(t *testing.T) {
	t.Parallel()
	for more, want := range map[string]struct {
		status int
		out    string
	}{"": {exitDone, "ignored  tombstone"}, "tombstones: dead_letter\n": {exitFailed, "malformed: the value is null (a tombstone)"}} {
		r := newRig()
		withMapping(r)
		r.files["maps/hr.yaml"] += more
		if status := r.run(t, "map", "--no-value", "--key=E1", "--mapping=maps/hr.yaml"); status != want.status || !strings.Contains(r.out.String(), want.out) {
			t.Errorf("%q: status %d: %s%s", more, status, r.out, r.errs)
		}
	}
	r := newRig()
	withMapping(r)
	if status := r.run(t, "map", "--no-value", "--mapping=maps/hr.yaml", "event.json"); status != exitFailed {
		t.Errorf("status %d", status)
	}
}

// A lookup that is no hash is told before it can stop anything.
func TestHashes(t *testing.T) {
	t.Parallel()
	r := newService(t)
	withMapping(r)
	if err := r.redis.Set("crm-members", "text"); err != nil {
		t.Fatal(err)
	}
	if status := r.run(t, "check", "--mapping=maps/hr.yaml"); status != exitFailed {
		t.Errorf("status %d", status)
	}
	if want := `redis          failed   lookup members: key "crm-members" in Redis is no hash`; !strings.Contains(r.out.String(), want) {
		t.Errorf("%s lacks %s", r.out, want)
	}
	if status := r.run(t, "run", "--mapping=maps/hr.yaml"); status != exitUsage {
		t.Errorf("status %d", status)
	}
}
