package ops

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A RedrivePlan is the sum of a preview.
type RedrivePlan struct {
	NewerAll, NewerSome, NewerNone, NewerUnknown int
	Other                                        int // states no fields, or would fail again
	Calls                                        int // at most
	Duration                                     time.Duration
}

// Preview reports what each selected dead letter would do now, and returns the sum.
func (r *Redrive) Preview(ctx context.Context, report func(ItemResult)) (RedrivePlan, error) {
	var plan RedrivePlan
	for item, err := range r.deadLetters.reader.Items(ctx, r.index, 0, true) {
		if ctx.Err() != nil || err != nil && item.ID == "" {
			return plan, errors.Join(err, ctx.Err())
		}
		number, reason := r.decide(item, err)
		switch {
		case err == nil && r.leaveOut(item, report):
		case reason != "":
			report(failedItem(item.ID, reason))
		case number == 0:
			report(ItemResult{ID: item.ID, Result: "under way", Detail: fmt.Sprintf("redrive %d", item.Number)})
		default:
			if r.Edited {
				item.DeadLetter.Value, item.DeadLetter.Edited = r.Value, number
			}
			all, err := r.deadLetters.preview(ctx, item.DeadLetter)
			for _, p := range all {
				plan.count(p.newer)
			}
			result := ItemResult{ID: item.ID, Result: "would redrive", Detail: describe(all, err)}
			if r.rejection != nil { // see Run
				result.Result, result.Failed = "would refuse", true
			}
			report(result)
		}
	}
	missing(r.index, report)
	plan.Duration = r.deadLetters.UnderLimit(plan.Calls)
	return plan, nil
}

// describe says what the events of a dead letter would do.
func describe(all []previewed, err error) string {
	details := make([]string, 0, len(all)+1)
	for _, p := range all {
		detail, reason := p.outcome()
		if reason != "" {
			detail += ": " + reason
		}
		if p.newer != "" {
			detail += ", newer values: " + string(p.newer)
		}
		details = append(details, detail)
	}
	if err != nil {
		details = append(details, err.Error())
	}
	return strings.Join(details, "; ")
}

func (p *RedrivePlan) count(n Newer) {
	switch n {
	case NewerAll:
		p.NewerAll++
		return
	case NewerSome:
		p.NewerSome++
	case NewerNone:
		p.NewerNone++
	case NewerUnknown:
		p.NewerUnknown++
	default:
		p.Other++
		return
	}
	p.Calls++
}

// UnderLimit returns the least time that so many calls take under the limit on calls, rounded up to
// a second; 0 without a limit.
func (s *base) UnderLimit(calls int) time.Duration {
	limit := s.cfg.CRM.Rate
	if limit.Calls <= 0 {
		return 0
	}
	took := time.Duration(calls) * limit.Window / time.Duration(limit.Calls)
	return (took + time.Second - 1).Truncate(time.Second)
}

// A pace lets so many through in a second.
type pace struct {
	every time.Duration
	next  time.Time
}

func newPace(rate int) *pace {
	if rate == 0 {
		return &pace{}
	}
	return &pace{every: time.Second / time.Duration(rate)}
}

func (p *pace) wait(ctx context.Context) error {
	now := time.Now()
	if p.every == 0 || !p.next.After(now) {
		p.next = now.Add(p.every)
		return nil
	}
	timer := time.NewTimer(p.next.Sub(now))
	defer timer.Stop()
	p.next = p.next.Add(p.every)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
