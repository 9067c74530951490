package event_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/consumer/event"
	"membersync/crmapi"
	"membersync/mapper"
)

// Whatever a record holds, its dead letter gets back byte for byte, nil and empty kept apart.
func TestAPackedRecordIsTheRecord(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1795334401123)
	long := make([]byte, 70_000)
	for name, rec := range map[string]mapper.Record{
		"a tombstone":       {Topic: "in", Partition: 3, Offset: 41, Time: at, Key: []byte("E1")},
		"empty, not nil":    {Topic: "in", Offset: 1 << 40, Time: at, Key: []byte{}, Value: []byte{}},
		"no timestamp":      {Topic: "in", Time: time.UnixMilli(-1), Value: []byte("{}")},
		"an edited value":   {Topic: "in", Time: at, Value: []byte("{}"), Edited: 9999},
		"long, and no text": {Topic: "in", Time: at, Key: []byte{0, 0xff}, Value: long},
		"headers": {Topic: "in", Time: at, Value: []byte("{}"), Headers: []mapper.Header{
			{Key: "", Value: nil},
			{Key: "nil"},
			{Key: "empty", Value: []byte{}},
			{Key: "twice", Value: []byte{0}},
			{Key: "twice", Value: long[:300]},
		}},
	} {
		packed := event.Pack(&event.Record{Origin: rec})
		if diff := cmp.Diff(rec, packed.Origin()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if packed.Topic() != rec.Topic || packed.Partition() != rec.Partition || packed.Offset() != rec.Offset || !packed.Time().Equal(rec.Time) {
			t.Errorf("%s: other coordinates", name)
		}
	}
}

func TestAPackedEventIsTheEvent(t *testing.T) {
	t.Parallel()
	rec := mapper.Record{Topic: "in", Partition: 3, Offset: 41, Time: time.UnixMilli(1795334401123), Edited: 2}
	version := func(epoch int, value uint64, index int) mapper.Version {
		v, ok := mapper.NewVersion(epoch, value, rec, index)
		if !ok {
			t.Fatal("no version")
		}
		return v
	}
	update := crmapi.Update{OpenUserID: "FSUID_TEST0001"}.
		With(crmapi.Name, crmapi.Text("Sample Person")).With(crmapi.Email, crmapi.Text("")).
		With(crmapi.MainDepartmentID, crmapi.Int(-1000)).With(crmapi.AttachingDepartmentIDs, crmapi.Ints([]int64{1, 2}))
	for name, ev := range map[string]mapper.Event{
		"nothing is known": {},
		"ignored":          {Count: 1, Ignored: "a rule"},
		"the version of its record": {
			Index: 2, Count: 3, ID: "ev1", EmployeeID: "E1", OpenUserID: "FSUID_TEST0001", Order: "42",
			Version: version(7, 42, 2), Update: update,
		},
		"the largest order": {Order: "9999999999999999999", Version: version(999999, 9999999999999999999, 0)},
		"order zero":        {Order: "0", Version: version(0, 0, 0)},
		"the version of another record": {
			Index: 1, Count: 3, OpenUserID: "FSUID_TEST0001", Order: "42", Version: version(7, 42, 2), Update: update,
		},
		"another order":     {Order: "042", Version: version(0, 42, 0)},
		"any other version": {Order: "1", Version: "0002"},
	} {
		e := event.New(event.Pack(&event.Record{Origin: rec}), ev)
		if diff := cmp.Diff(ev, e.Mapped()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if e.Version() != ev.Version || e.Ignored() != ev.Ignored || !e.Update().Equal(ev.Update) {
			t.Errorf("%s: a part differs", name)
		}
	}
}
