package ops

import (
	"context"
	"iter"
	"time"

	"membersync/dlq"
)

// A DeadLetter is an item of the dead-letter topic as JSON shows it, without its payload.
type DeadLetter struct {
	ID            string     `json:"id"` // always the full form
	State         dlq.State  `json:"state"`
	Reason        dlq.Reason `json:"reason"`
	Stage         dlq.Stage  `json:"stage"`
	Error         string     `json:"error"`
	Cause         string     `json:"cause"` // reason, code and error without variable parts
	EmployeeID    string     `json:"employee_id"`
	EventID       string     `json:"event_id"`
	CRMCode       string     `json:"crm_code"`
	Attempts      int        `json:"attempts"`
	Redrives      int        `json:"redrives"`
	FirstFailedAt Time       `json:"first_failed_at"`
	FailedAt      Time       `json:"failed_at"`
	Source        Source     `json:"source"`
}

// A Source is the record in the source topic that failed first.
type Source struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
	Timestamp Time   `json:"timestamp"`
}

// NewDeadLetter returns what JSON shows of an item.
func NewDeadLetter(i dlq.Item) DeadLetter {
	l := i.DeadLetter
	return DeadLetter{
		ID: i.ID, State: i.State, Reason: l.Reason, Stage: l.Stage, Error: l.Error, Cause: l.Cause(),
		EmployeeID: l.EmployeeID, EventID: l.EventID, CRMCode: l.CRMCode, Attempts: l.Attempts, Redrives: i.Number,
		FirstFailedAt: Time{i.FirstFailedAt}, FailedAt: Time{l.FailedAt},
		Source: Source{l.Source.Topic, l.Source.Partition, l.Source.Offset, Time{l.Source.Timestamp}},
	}
}

// Index reads all dead letters and selects those of a query. Groups of the selection are counted
// with groupBy; nil: they are not.
func (s *DeadLetters) Index(ctx context.Context, q dlq.Query, groupBy func(dlq.DeadLetter) string) (*dlq.Index, error) {
	return s.reader.Index(ctx, q, groupBy)
}

// Items reads the selected items of an index without their payloads, the latest limit of them (0:
// all), the latest failure last. An error with an item is about that item alone.
func (s *DeadLetters) Items(ctx context.Context, x *dlq.Index, limit int) iter.Seq2[dlq.Item, error] {
	return s.reader.Items(ctx, x, limit, false)
}

// Follow shows each item that the query of an index selects from now on, until the context ends or
// show returns an error.
func (s *DeadLetters) Follow(ctx context.Context, x *dlq.Index, show func(dlq.Item) error) error {
	return s.reader.Follow(ctx, x, show)
}

// Groupings returns the functions by which dead letters are grouped, by name.
func Groupings() map[string]func(dlq.DeadLetter) string {
	return map[string]func(dlq.DeadLetter) string{
		"reason":   ByReason,
		"stage":    func(l dlq.DeadLetter) string { return string(l.Stage) },
		"code":     func(l dlq.DeadLetter) string { return l.CRMCode },
		"employee": func(l dlq.DeadLetter) string { return l.EmployeeID },
		"error":    func(l dlq.DeadLetter) string { return l.Error },
		"cause":    ByCause,
	}
}

// ByCause groups dead letters that need the same fix.
func ByCause(l dlq.DeadLetter) string { return l.Cause() }

// ByReason groups dead letters by reason.
func ByReason(l dlq.DeadLetter) string { return string(l.Reason) }

// A Group is a group of dead letters as JSON shows it.
type Group struct {
	GroupBy       string `json:"group_by"`
	Group         string `json:"group"`
	Count         int    `json:"count"`
	Employees     int    `json:"employees"` // distinct ones
	Oldest        Time   `json:"oldest_failed_at"`
	Newest        Time   `json:"newest_failed_at"`
	OldestSeconds int64  `json:"oldest_age_seconds"`
	Redriven      Time   `json:"last_redriven_at"` // null: none was redriven
}

// NewGroup returns what JSON shows of a group at a time.
func NewGroup(by string, g dlq.Group, now time.Time) Group {
	return Group{by, g.Name, g.Count, g.Employees, Time{g.Oldest}, Time{g.Newest}, int64(now.Sub(g.Oldest).Seconds()), Time{g.Redriven}}
}

// An ItemResult is the result of a command for one dead letter.
type ItemResult struct {
	ID     string `json:"id"`     // in full form, except one without a dead letter
	Result string `json:"result"` // failed: see detail
	Detail string `json:"detail"`
	Failed bool   `json:"-"`
}

func failedItem(id, detail string) ItemResult {
	return ItemResult{ID: id, Result: dlq.ResultFailed, Detail: detail, Failed: true}
}

// missing reports the ids of a selection that have no dead letter.
func missing(x *dlq.Index, report func(ItemResult)) {
	for _, id := range x.Missing() {
		report(failedItem(id, "unknown dead letter"))
	}
}
