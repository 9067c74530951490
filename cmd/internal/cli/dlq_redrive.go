package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"membersync/cmd/internal/wiring"
	"membersync/consumer/preview"
	"membersync/dlq"
)

// redriving is what dlq redrive is asked for.
type redriving struct {
	filter
	order
	all       bool
	rate      int // a second; 0: as fast as it goes
	valueFile string
	wait      time.Duration // for results; 0: until all are there
}

var errStateLost = errors.New("refused: the state in Redis was lost, so an old value could win; run membersync state rebuild first")

var errOtherKey = errors.New("refused: the state in Redis was written under another MEMBERSYNC_STATE_KEY; give that one, or stop all instances " +
	"and run membersync state rebuild")

func (in *invocation) redrive(ctx context.Context, d *desk, o redriving) int {
	ok := in.choose(&o.filter, o.all, dlq.StateOpen, dlq.StateRedriving)
	if ok && o.valueFile != "" && len(o.query.IDs) != 1 {
		in.fault("--value-file", "is for one id")
		ok = !in.refuse(nil)
	}
	if ok && o.valueFile != "" && !d.cfg.State.Key.IsSet() {
		in.fault("--value-file", "needs MEMBERSYNC_STATE_KEY: without it an edited value cannot be told from a forged one")
		ok = !in.refuse(nil)
	}
	if !ok {
		return exitUsage
	}
	run := &redriveRun{in: in, desk: d, redriving: o, actor: in.who(o.order)}
	if o.valueFile != "" {
		value, err := in.ReadFile(o.valueFile)
		if err != nil {
			return in.failed(ctx, err)
		}
		run.value, run.edited = value, true
	}
	err := d.stateRefusal(ctx)
	if err != nil {
		return in.failed(ctx, err)
	}
	// Before the look at the items: no result may fall in between.
	if run.tail, err = d.reader.Tail(ctx); err != nil {
		return in.failed(ctx, err)
	}
	if run.survey, err = in.survey(ctx, d, o.query, groupings()["reason"]); err == nil {
		err = run.findUnsent(ctx)
	}
	if err == nil && run.edited {
		err = run.checkValue(ctx)
	}
	if err != nil {
		return in.failed(ctx, err)
	}
	return run.do(ctx)
}

// A redriveRun is one run of dlq redrive.
type redriveRun struct {
	redriving
	in     *invocation
	desk   *desk
	actor  string
	value  []byte
	edited bool
	fields []string // that the edited value states
	survey *dlq.Index
	tail   *dlq.Tail
	sent   map[dlq.Sent]bool // what the redrive topic holds of those that are under way
	counts planCounts
}

var errOtherEmployee = errors.New("refused: the value in --value-file is of another employee than the dead letter; nothing was written")

// checkValue refuses a value that the service would refuse: one of another employee. It also notes
// the names of the fields that the value states, for the audit record.
func (r *redriveRun) checkValue(ctx context.Context) error {
	for item, err := range r.desk.reader.Items(ctx, r.survey, 0, true) {
		if err != nil {
			return err
		}
		named := item.DeadLetter
		item.DeadLetter.Value = r.value
		results, err := r.desk.translate(ctx, recordOf(item.DeadLetter))
		if err != nil {
			return err
		}
		own, ok := preview.EditedResults(named, results)
		if !ok {
			return errOtherEmployee
		}
		for _, res := range own {
			for f := range res.Event.Update.All() {
				r.fields = append(r.fields, f.String())
			}
		}
	}
	slices.Sort(r.fields)
	r.fields = slices.Compact(r.fields)
	return nil
}

// findUnsent looks up which of the items under way were recorded but not sent: an earlier command was killed in between.
func (r *redriveRun) findUnsent(ctx context.Context) error {
	oldest := time.Time{}
	for _, at := range r.survey.Requested() {
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	if oldest.IsZero() {
		return nil
	}
	var err error
	r.sent, err = r.desk.reader.Sent(ctx, oldest.Add(-sentMargin))
	return err
}

// sentMargin is how far the clocks of command and broker may differ.
const sentMargin = 10 * time.Minute

func (r *redriveRun) do(ctx context.Context) int {
	if r.dryRun {
		return r.plan(ctx)
	}
	r.in.say("to redrive: " + planOf(r.survey, time.Now()))
	if r.rate > 0 {
		r.in.say(fmt.Sprintf("at %d a second: %s\n", r.rate, (time.Duration(r.survey.Selected()) * time.Second / time.Duration(r.rate)).Round(time.Second)))
	}
	if r.survey.Selected() > 0 && !r.in.goesAhead(r.order, "Redrive?") {
		return exitFailed
	}
	w := r.newWatch()
	stop := w.start(ctx)
	err := r.send(ctx, w)
	if err == nil {
		err = w.await(ctx, r.wait)
	}
	stop()
	status := w.results.end()
	if n := w.outstanding(); n > 0 {
		r.in.complain(fmt.Sprintf("%s sent and without a result; the results will be in membersync dlq list --state all", plural(n, "redrive")))
		status = exitPart
	}
	if err != nil {
		status = max(r.in.failed(ctx, err), min(status, exitPart))
	}
	return status
}

// send sends what is chosen, one after the other at the rate.
func (r *redriveRun) send(ctx context.Context, w *watch) error {
	redriver := dlq.NewRedriver(r.desk.parts.Kafka, wiring.Topics(r.desk.cfg).Redrive, dlq.WithRetry(writePatience))
	pace := newPace(r.rate)
	for item, err := range r.desk.reader.Items(ctx, r.survey, 0, true) {
		if ctx.Err() != nil || err != nil && item.ID == "" {
			return errors.Join(err, ctx.Err())
		}
		number, why := r.judge(item, err)
		if why != "" {
			w.print(item.ID, "failed", why, false)
			continue
		}
		if number == 0 {
			w.expect(item.ID, item.Number) // it is under way already: only its result is missing
			continue
		}
		if err := pace.wait(ctx); err != nil {
			return err
		}
		if err := w.check(ctx); err != nil {
			return err
		}
		if err := r.sendOne(ctx, redriver, w, item, number); err != nil {
			w.forget(item.ID)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			w.print(item.ID, "failed", err.Error(), false)
		}
	}
	return nil
}

// neverRun is about a letter that tells of a record in the redrive topic alone.
const neverRun = "it is an invalid redrive: redrive the event's own dead letter, and discard this one"

var errTooOften = fmt.Errorf("it was redriven %d times, which is the most: discard it", dlq.MaxRedrives)

// judge decides about an item: the number to send it with, 0 if it is under way, or why it is not sent.
func (r *redriveRun) judge(i dlq.Item, err error) (number int, why string) {
	switch {
	case err != nil:
		return 0, err.Error()
	case i.DeadLetter.Reason == dlq.ReasonInvalidRedrive:
		return 0, neverRun
	case i.State == dlq.StateApplied || i.State == dlq.StateSuperseded:
		return 0, "it is " + string(i.State) + " already"
	case i.State == dlq.StateRedriving && !r.sent[dlq.Sent{ID: i.ID, Number: i.Number}]:
		return i.Number, ""
	case i.State == dlq.StateRedriving:
		return 0, ""
	case i.Number >= dlq.MaxRedrives:
		return 0, errTooOften.Error()
	default:
		return i.Number + 1, ""
	}
}

// sendOne records a redrive and sends it. The record comes first: what is sent was recorded, and
// what was recorded and not sent is found and sent by the next run, under the same number. Once
// begun, both are written, also after Ctrl-C: the record may be there although its acknowledgement
// was not waited for. The writes are bounded in time.
func (r *redriveRun) sendOne(ctx context.Context, to *dlq.Redriver, w *watch, i dlq.Item, number int) error {
	ctx = context.WithoutCancel(ctx)
	if r.edited {
		i.DeadLetter.Value = r.value
	}
	var one dlq.Redrive
	recorded := false
	if i.State == dlq.StateRedriving {
		var err error
		if one, recorded, err = r.recorded(ctx, i); err != nil {
			return err
		}
		number = i.Number + 1 // of a new request, if this one cannot be used
	}
	if !recorded {
		w.expect(i.ID, number)
		var err error
		if one, err = r.record(ctx, i, number); err != nil {
			return err
		}
	}
	w.expect(i.ID, one.Number)
	return to.Write(ctx, one)
}

// record requests a redrive in the audit topic, and returns it.
func (r *redriveRun) record(ctx context.Context, i dlq.Item, number int) (dlq.Redrive, error) {
	one := dlq.Redrive{
		DeadLetter: i.DeadLetter, Place: i.Place, Number: number, By: r.actor, At: time.Now(), Note: r.note, Edited: r.edited,
	}
	if number > dlq.MaxRedrives {
		return one, errTooOften
	}
	request := one.Request(r.desk.parts.EditDigest)
	request.Detail.Fields = strings.Join(r.fields, ",")
	var err error
	one.Audit, err = r.desk.audit.Append(ctx, request)
	return one, err
}

// recorded returns the redrive that was requested and not sent, as it was requested: it names that
// request. Not ok: the request has expired, or is of another value or another dead letter of the
// event.
func (r *redriveRun) recorded(ctx context.Context, i dlq.Item) (one dlq.Redrive, ok bool, err error) {
	request, err := r.desk.reader.AuditRecord(ctx, i.Request)
	_, expired := errors.AsType[*dlq.ExpiredError](err)
	switch {
	case expired || errors.Is(err, dlq.ErrNoAuditRecord):
		return one, false, nil
	case err != nil:
		return one, false, err
	case request.Detail.Edited && !r.edited: // the value was never written
		return one, false, fmt.Errorf("redrive %d was recorded with an edited value and not sent: give the value again with --value-file", i.Number)
	}
	one = dlq.Redrive{
		DeadLetter: i.DeadLetter, Place: i.Place, Audit: i.Request, Number: i.Number, By: request.Actor, At: request.At,
		Note: request.Note, Edited: r.edited,
	}
	return one, one.CheckRequest(request, r.desk.parts.EditDigest) == nil, nil
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

// planCounts are what a dry run counts.
type planCounts struct{ other, fully, partly, not, unknown, calls int }

// plan is the dry run: what each would do now, and how much of it newer events have overtaken.
func (r *redriveRun) plan(ctx context.Context) int {
	results := r.in.newResults(r.survey)
	for item, err := range r.desk.reader.Items(ctx, r.survey, 0, true) {
		if ctx.Err() != nil || err != nil && item.ID == "" {
			return r.in.failed(ctx, errors.Join(err, ctx.Err()))
		}
		number, why := r.judge(item, err)
		switch {
		case why != "":
			results.print(item.ID, "failed", why, false)
		case number == 0:
			results.print(item.ID, "under way", "redrive "+strconv.Itoa(item.Number), true)
		default:
			if r.edited {
				item.DeadLetter.Value, item.DeadLetter.Edited = r.value, number
			}
			results.print(item.ID, "would redrive", r.foresee(ctx, item), true)
		}
	}
	status := results.end()
	c := r.counts
	r.in.say(fmt.Sprintf("overtaken by newer events: %d fully, %d partly, %d not, %d unknown; %d state nothing or would die again\n",
		c.fully, c.partly, c.not, c.unknown, c.other))
	if limit := r.desk.cfg.CRM.Rate; limit.Calls > 0 {
		r.in.say(fmt.Sprintf("at most %s, %s under the rate limit\n", plural(c.calls, "call"),
			(time.Duration(c.calls) * limit.Window / time.Duration(limit.Calls)).Round(time.Second)))
	}
	return status
}

// foresee says what a redrive would come to now.
func (r *redriveRun) foresee(ctx context.Context, i dlq.Item) string {
	all, err := r.desk.standings(ctx, i.DeadLetter)
	var details []string
	for _, s := range all {
		detail, reason := s.outcome()
		if reason != "" {
			detail += ": " + reason
		}
		if s.overtaken != "" {
			detail += ", overtaken " + s.overtaken
		}
		details = append(details, detail)
		r.count(s)
	}
	if err != nil {
		details = append(details, err.Error())
	}
	return strings.Join(details, "; ")
}

func (r *redriveRun) count(s standing) {
	c := &r.counts
	switch s.overtaken {
	case overtakenFully:
		c.fully++
	case overtakenPartly:
		c.partly++
	case overtakenNot:
		c.not++
	case overtakenUnknown:
		c.unknown++
	default:
		c.other++
		return
	}
	if s.overtaken != overtakenFully {
		c.calls++
	}
}
