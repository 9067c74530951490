package history_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"membersync/cmd/internal/test/oracle/history"
)

const member = "FSUID_TEST0001"

func at(seconds float64) time.Time {
	return time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

// record returns an event that states one field.
func record(offset int64, sequence int, field, value string) history.Record {
	return history.Record{Offset: offset, Time: at(0), Key: []byte("E"), Value: fmt.Appendf(nil,
		`{"eventId":"ev-%d","sequence":%d,"employeeId":"E","openUserId":%q,"after":{%q:%q}}`, offset, sequence, member, field, value)}
}

// call returns a call that takes effect one second after its arrival and is acknowledged at once.
func call(n int, arrived float64, value string) history.Call {
	return history.Call{
		N: n, Turn: n, Instance: 1, Member: member, User: fmt.Appendf(nil, `{"openUserId":%q,"qq":%q}`, member, value),
		Arrived: at(arrived), Effect: at(arrived + 1), Left: at(arrived + 1),
	}
}

// good returns a history without faults: the value a, then the newer b.
func good() history.History {
	return history.History{
		World: history.World{
			Members: []string{member}, Departments: 5, MaxRecordBytes: 1000, Refused: "refuse-", Rejected: "reject-", Sick: "-",
			Limit: 2, Window: 2 * time.Second, Quiet: 20 * time.Second, Lease: time.Second,
		},
		Source:    []history.Record{record(0, 1, "qq", "a"), record(1, 2, "qq", "b")},
		Calls:     []history.Call{call(1, 10, "a"), call(2, 20, "b")},
		State:     map[string]map[string]string{member: {"qq": `"b"`}},
		Commits:   []history.Commit{{At: at(12), Offset: 1}, {At: at(22), Offset: 2}},
		Committed: map[int]int64{0: 2},
		Ends:      map[int]int64{0: 2},
		Deliveries: []history.Delivery{
			{Instance: 1, Offset: 0, Arrived: 1, Ended: 1}, {Instance: 1, Offset: 1, Arrived: 2, Ended: 1},
		},
	}
}

// deadLetter returns the dead letter of a record.
func deadLetter(r history.Record, reason string) history.Record {
	index := map[bool]string{true: "", false: ":0"}[reason == "malformed" || reason == "oversized"]
	r.Headers = append(slices.Clone(r.Headers),
		history.Header{Key: "dlq.id", Value: fmt.Appendf(nil, "%d:%d%s@%d", r.Partition, r.Offset, index, r.Time.UnixMilli())},
		history.Header{Key: "dlq.reason", Value: []byte(reason)},
		history.Header{Key: "dlq.redrives", Value: []byte("0")},
		history.Header{Key: "dlq.source.partition", Value: fmt.Append(nil, r.Partition)},
		history.Header{Key: "dlq.source.offset", Value: fmt.Append(nil, r.Offset)},
		history.Header{Key: "dlq.source.timestamp", Value: r.Time.AppendFormat(nil, "2006-01-02T15:04:05.000Z07:00")})
	return r
}

// older makes the older value arrive last.
func older(h *history.History) {
	h.Calls = append(h.Calls, call(3, 30, "a"), call(4, 40, "b"))
	h.Calls[2].Instance = 2
}

// setBack makes the older value arrive last and stay.
func setBack(h *history.History) {
	older(h)
	h.Calls = h.Calls[:3]
	h.State[member]["qq"] = `"a"`
}

// lost empties Redis.
func lost(h *history.History, seconds float64) {
	h.Losses = append(h.Losses, history.Loss{At: at(seconds)})
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*history.History)
		want   string // empty: no fault
	}{
		"good":                          {func(*history.History) {}, ""},
		"not sent":                      {func(h *history.History) { h.Calls = h.Calls[:1]; h.State[member]["qq"] = `"a"` }, "the newest accepted one"},
		"went back":                     {older, "went back"},
		"went back after a lost answer": {func(h *history.History) { older(h); h.Calls[1].Lost = true; h.World.Quiet = 0 }, "gone unacknowledged"},
		"went back over a loss":         {func(h *history.History) { older(h); lost(h, 25) }, ""},
		"went back before a loss":       {func(h *history.History) { older(h); lost(h, 31) }, "went back"},
		"went back after a loss":        {func(h *history.History) { older(h); lost(h, 15) }, "went back"},
		"ends set back over a loss":     {func(h *history.History) { setBack(h); lost(h, 25) }, ""},
		"ends set back after a loss":    {func(h *history.History) { setBack(h); lost(h, 15) }, "the newest accepted one"},
		"never sent, with a loss":       {func(h *history.History) { h.Calls = h.Calls[:1]; h.State[member]["qq"] = `"a"`; lost(h, 15) }, "the newest accepted one"},
		"overlap over a loss":           {func(h *history.History) { h.Calls[0].Left = at(20.5); lost(h, 15) }, ""},
		"overlap after a loss":          {func(h *history.History) { h.Calls[0].Left = at(20.5); lost(h, 8) }, "overlap"},
		"too many calls after a loss":   {func(h *history.History) { h.World.Limit, h.World.Window = 1, 11*time.Second; lost(h, 8) }, "2 calls within 10s"},
		"overlap":                       {func(h *history.History) { h.Calls[0].Left = at(20.5) }, "overlap"},
		"another update too soon":       {func(h *history.History) { h.Calls[0].Lost = true }, "another update"},
		"another update in time":        {func(h *history.History) { h.Calls[0].Lost = true; h.World.Quiet = 10 * time.Second }, ""},
		"too many calls":                {func(h *history.History) { h.World.Limit, h.World.Window = 1, 11*time.Second }, "2 calls within 10s"},
		"just enough calls":             {func(h *history.History) { h.World.Limit, h.World.Window = 1, 10*time.Second }, ""},
		"an unstated value":             {func(h *history.History) { h.Calls[0] = call(1, 10, "x") }, "which no event states"},
		"committed too soon":            {func(h *history.History) { h.Commits[0].Offset = 2 }, "is committed at 03:00:12.000"},
		"committed beyond the end":      {func(h *history.History) { h.Commits[1].Offset = 3 }, "does not exist"},
		"not committed":                 {func(h *history.History) { h.Committed[0] = 1 }, "committed up to 1 of 2"},
		"two outcomes":                  {func(h *history.History) { h.Deliveries[0].Ended = 2 }, "ended the event at 0:0 2 times"},
		"no outcome":                    {func(h *history.History) { h.Deliveries = h.Deliveries[1:] }, "has no outcome"},
		"dead for nothing": {func(h *history.History) {
			h.DeadLetters = []history.Record{deadLetter(h.Source[0], "retries_exhausted")}
		}, "dead-lettered as retries_exhausted"},
		"dead and sick, but not tried": {func(h *history.History) {
			h.World.Sick = member
			h.DeadLetters = []history.Record{deadLetter(h.Source[0], "retries_exhausted")}
		}, "after 0 failed calls"},
		"dead letter of no record": {func(h *history.History) {
			h.DeadLetters = []history.Record{deadLetter(record(7, 1, "qq", "a"), "malformed")}
		}, "names no source record"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := good()
			test.change(&h)
			expect(t, history.Check(h), test.want)
		})
	}
}

// redriven dead-letters the newer value and redrives it with another one.
func redriven(h *history.History) {
	h.DeadLetters = []history.Record{deadLetter(h.Source[1], "crm_invalid")}
	h.World.Refused = "b"
	again := deadLetter(h.Source[1], "crm_invalid")
	again.Time, again.Value = at(30), record(1, 2, "qq", "c").Value
	again.Headers = append(again.Headers,
		history.Header{Key: "redrive.number", Value: []byte("1")}, history.Header{Key: "redrive.edited", Value: []byte("true")})
	h.Redrives = []history.Record{again}
	h.Audit = []history.Record{{Value: fmt.Appendf(nil,
		`{"action":"redrive_result","subject":"0:1:0@%d","result":"applied","detail":{"number":1}}`, h.Source[1].Time.UnixMilli())}}
	h.Calls = []history.Call{h.Calls[0], call(2, 40, "c")}
	h.State[member]["qq"] = `"c"`
}

// storm dead-letters both events in a storm.
func storm(h *history.History, s history.Storm) {
	s.From, s.To, s.Reason, s.Members = at(0), at(100), "crm_invalid", map[string]bool{member: true}
	h.World.Storms = []history.Storm{s}
	h.Calls, h.State = nil, nil
	for _, r := range h.Source {
		l := deadLetter(r, "crm_invalid")
		l.Time = at(5)
		h.DeadLetters = append(h.DeadLetters, l)
	}
}

func TestThemes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*history.History)
		want   string // empty: no fault
	}{
		"a call in a pause":       {func(h *history.History) { h.Pauses = []history.Pause{{From: at(0), To: at(25)}} }, "while calls are paused"},
		"no call in a pause":      {func(h *history.History) { h.Pauses = []history.Pause{{From: at(21), To: at(99)}} }, ""},
		"redriven":                {redriven, ""},
		"redriven without result": {func(h *history.History) { redriven(h); h.Audit = nil }, "has no result"},
		"result of another topic": {func(h *history.History) { redriven(h); h.Source[1].Time = at(1) }, "has no result"},
		"id of another topic": {func(h *history.History) {
			redriven(h)
			h.DeadLetters[0].Headers[0].Value = []byte("0:1:0@1")
		}, "has the id 0:1:0@1, not 0:1:0@"},
		"redriven and not applied": {func(h *history.History) { redriven(h); h.State[member]["qq"] = `"a"` }, "the newest accepted one"},
		"the edit is undone":       {func(h *history.History) { redriven(h); h.Calls = append(h.Calls, call(3, 50, "a")) }, "went back"},
		"a dead letter is replayed": {func(h *history.History) {
			redriven(h)
			h.Replays = map[int]history.Replay{7: {Began: at(45), Reapply: true}}
			h.Calls = append(h.Calls, call(3, 50, "b"), call(4, 60, "c"))
			h.Calls[2].Instance = 7
		}, "was dead-lettered before the replay began"},
		"what is done is replayed": {func(h *history.History) {
			h.Replays = map[int]history.Replay{7: {Began: at(45)}}
			h.Calls = append(h.Calls, call(3, 50, "b"))
			h.Calls[2].Instance = 7
		}, "was done before the replay began"},
		"a forged redrive runs": {func(h *history.History) {
			redriven(h)
			h.Forged = map[string]string{"0:1": "another value"}
		}, "is forged"},
		"a forged name is recorded": {func(h *history.History) {
			redriven(h)
			forged, refusal := h.Redrives[0], deadLetter(h.Source[1], "invalid_redrive")
			forged.Offset = 9
			forged.Headers = append(slices.Clone(forged.Headers), history.Header{Key: "redrive.by", Value: []byte("forger")})
			for i, f := range refusal.Headers {
				if f.Key == "dlq.source.offset" {
					refusal.Headers[i].Value = []byte("9")
				}
			}
			h.Redrives, h.DeadLetters = append(h.Redrives, forged), append(h.DeadLetters, refusal)
			h.Forged = map[string]string{"0:9": "no request"}
			h.Audit = append(h.Audit, history.Record{Value: []byte(`{"action":"redrive_result","detail":{"by":"forger"}}`)})
		}, "the name that a forged redrive states"},
		"redriven while the state is lost": {func(h *history.History) {
			redriven(h)
			h.Losses = []history.Loss{{At: at(25), Rebuilt: at(60)}}
		}, "while the state is lost"},
		"a storm":              {func(h *history.History) { storm(h, history.Storm{Instances: 1}) }, ""},
		"a storm is not held":  {func(h *history.History) { storm(h, history.Storm{}) }, "2 events are dead-lettered in a storm"},
		"a storm that is over": {func(h *history.History) { storm(h, history.Storm{Instances: 1}); h.DeadLetters[0].Time = at(500) }, "dead-lettered as crm_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := good()
			test.change(&h)
			expect(t, history.Check(h), test.want)
		})
	}
}

func expect(t *testing.T, faults []string, want string) {
	t.Helper()
	all := strings.Join(faults, "\n")
	if want == "" && all != "" || !strings.Contains(all, want) {
		t.Errorf("faults %q, want %q", all, want)
	}
}

// poison adds a record that must become a dead letter.
func poison(h *history.History, r history.Record) {
	r.Offset = 2
	h.Source = append(h.Source, r)
	h.Ends[0], h.Committed[0] = 3, 3
	h.Deliveries = append(h.Deliveries, history.Delivery{Instance: 1, Offset: 2, Arrived: 1, Ended: 1})
}

func TestPoison(t *testing.T) {
	t.Parallel()
	with := func(field, value string) history.Record { return record(2, 3, field, value) }
	raw := func(value string) history.Record { return history.Record{Offset: 2, Time: at(0), Value: []byte(value)} }
	for reason, records := range map[string][]history.Record{
		"malformed":     {raw("{"), raw(""), raw(`{"eventId":"a","eventId":"b"}`), raw("{} {}")},
		"oversized":     {raw(strings.Repeat(" ", 1001))},
		"invalid_event": {raw(`{"eventId":"a","sequence":-1,"employeeId":"E","openUserId":"F","after":{}}`), raw(`{"eventId":"a"}`)},
		"invalid_field": {with("gender", "X")},
		"crm_invalid":   {with("position", "refuse-1")},
		"crm_rejected":  {with("position", "reject-1")},
	} {
		for i, r := range records {
			t.Run(fmt.Sprint(reason, i), func(t *testing.T) {
				t.Parallel()
				h := good()
				poison(&h, r)
				expect(t, history.Check(h), "has no dead letter")
				h.DeadLetters = []history.Record{deadLetter(r, reason)}
				expect(t, history.Check(h), "")
				h.DeadLetters[0].Value = append([]byte("x"), h.DeadLetters[0].Value...)
				expect(t, history.Check(h), "differs from its record")
				h.DeadLetters = []history.Record{deadLetter(r, "routed")}
				expect(t, history.Check(h), "dead-lettered as routed")
			})
		}
	}
}
