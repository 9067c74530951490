package main

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"membersync/mapper"
)

// steps returns the messages of some rounds.
func steps(seed uint64, rounds int) (all []message) {
	s := newStream("ev-", 100, seed)
	for range rounds * round {
		all = append(all, s.next()...)
	}
	return all
}

func TestTheStreamIsTheSameForTheSameSeed(t *testing.T) {
	t.Parallel()
	one, same, other := steps(1, 3), steps(1, 3), steps(2, 3)
	if !reflect.DeepEqual(one, same) {
		t.Error("the same seed makes another one")
	}
	if reflect.DeepEqual(one, other) {
		t.Error("another seed makes the same")
	}
}

// The mapper sees each sample as its note says.
func TestSamplesAreWhatTheySay(t *testing.T) {
	t.Parallel()
	mapping, err := mapper.Builtin("canonical", mapper.Options{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]mapper.Reason{
		"poison: a bad value": mapper.InvalidField, "poison: no sequence": mapper.InvalidEvent,
		"poison: cut off": mapper.Malformed, "poison: two values": mapper.Malformed,
		"poison: an empty value": mapper.Malformed, "poison: not UTF-8": mapper.Malformed,
	}
	found := map[string]int{}
	for _, m := range steps(7, 60) {
		found[m.note]++
		r := mapping.Map(mapper.Record{Key: m.key, Value: m.value})[0]
		want := seen[m.note]
		switch {
		case want == "" && r.Fault != nil, want != "" && (r.Fault == nil || r.Fault.Reason != want):
			t.Errorf("%s: %s: %v", m.note, m.value, r.Fault)
		case m.note == "a deletion" && r.Event.Ignored == "", m.note == "only qq differs" && r.Event.Update.Len() != 1:
			t.Errorf("%s: %s", m.note, m.value)
		case m.note == "poison: unknown member" && r.Event.OpenUserID != member(unknownPerson):
			t.Errorf("%s: %s", m.note, m.value)
		}
	}
	for _, note := range []string{
		"a change", "delivered again", "overtakes the one before it", "late: only its position is old",
		"late: a newer event was there first", "a clear", "the values of the change before", "several at once",
		"poison: unknown department", "poison: unknown member",
	} {
		seen[note] = ""
	}
	for note := range seen {
		if found[note] == 0 {
			t.Errorf("no sample of %q", note)
		}
	}
}

func TestOneRoundHasEachKind(t *testing.T) {
	t.Parallel()
	kinds := map[string]bool{}
	for _, m := range steps(1, 1) {
		kinds[strings.SplitN(m.note, ":", 2)[0]] = true
	}
	for _, kind := range []string{"a change", "delivered again", "late", "poison", "a clear", "a deletion", "several at once", "only qq differs"} {
		if !kinds[kind] {
			t.Errorf("a round lacks %q", kind)
		}
	}
}

func TestOnlyWhatIsDeliveredAgainRepeatsAnID(t *testing.T) {
	t.Parallel()
	ids := map[string][]byte{}
	pattern := regexp.MustCompile(`"eventId":"(ev-\d+)"`)
	var late int
	for _, m := range steps(3, 20) {
		id := pattern.FindSubmatch(m.value)
		if id == nil || strings.HasPrefix(m.note, "poison: two") {
			continue
		}
		before, repeated := ids[string(id[1])]
		if repeated != (m.note == "delivered again") || repeated && !bytes.Equal(before, m.value) {
			t.Errorf("%s: %s", m.note, m.value)
		}
		ids[string(id[1])] = m.value
		if strings.HasPrefix(m.note, "late") {
			late++
		}
	}
	if late != 2*20 {
		t.Errorf("%d late ones in 20 rounds", late)
	}
}

// All people are plainly made up, and none is the one left to the user.
func TestSamplePeople(t *testing.T) {
	t.Parallel()
	allowed := regexp.MustCompile(`^(Sample .*|sample-.*|person\d\.\d{3}@sample\.invalid|0{4}\d{7}|000\*{4}0009|E000[1-8]|E0404|FSUID_TEST0(00[1-8]|404)|ev-\d+|M|X|1|three|20\d\d-\d\d-\d\dT08:00:00Z)?$`)
	text, key := regexp.MustCompile(`"[a-zA-Z]+":"([^"]*)"`), regexp.MustCompile(`^E0(00[1-8]|404)$`)
	for _, m := range steps(5, 40) {
		if !key.Match(m.key) {
			t.Errorf("key %s", m.key)
		}
		for _, v := range text.FindAllSubmatch(m.value, -1) {
			if !allowed.Match(v[1]) && m.note != "poison: not UTF-8" {
				t.Errorf("value %q in %s", v[1], m.value)
			}
		}
	}
}
