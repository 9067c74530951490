package ops

import (
	"context"
	"slices"
	"strings"
	"time"

	"membersync/dlq"
)

// An AuditQuery selects audit records. A zero field does not restrict the selection.
type AuditQuery struct {
	Since   time.Time
	Actor   string
	Actions []dlq.Action
	Subject string // the id of a dead letter may be in full or short
	Limit   int    // the latest so many; 0: all
}

func (q AuditQuery) matches(a dlq.AuditRecord) bool {
	return !a.At.Before(q.Since) && (q.Actor == "" || q.Actor == a.Actor) && q.isAbout(a.Subject) &&
		(len(q.Actions) == 0 || slices.Contains(q.Actions, a.Action))
}

// isAbout reports whether the records of a subject are selected. A short id selects those of all
// dead letters that have it; other subjects are compared as they are.
func (q AuditQuery) isAbout(subject string) bool {
	if q.Subject == "" || q.Subject == subject {
		return true
	}
	short, _, isFull := strings.Cut(subject, "@")
	if !isFull || short != q.Subject {
		return false
	}
	_, err := dlq.ParseID(subject)
	return err == nil
}

// Audit returns the selected audit records by time, and how many of them the limit left out.
func (s *Trail) Audit(ctx context.Context, q AuditQuery) (records []dlq.AuditRecord, more int, err error) {
	n := 0
	err = s.reader.Audit(ctx, func(a dlq.AuditRecord) {
		if !q.matches(a) {
			return
		}
		n++
		records = append(records, a)
		if q.Limit > 0 && len(records) >= 2*q.Limit {
			records = latest(records, q.Limit)
		}
	})
	records = latest(records, q.Limit)
	return records, n - len(records), err
}

// latest returns the last limit records by time; 0: all.
func latest(records []dlq.AuditRecord, limit int) []dlq.AuditRecord {
	slices.SortStableFunc(records, func(a, b dlq.AuditRecord) int { return a.At.Compare(b.At) })
	if limit > 0 && len(records) > limit {
		records = append(records[:0], records[len(records)-limit:]...)
	}
	return records
}
