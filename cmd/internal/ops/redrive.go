package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"membersync/cmd/internal/wiring"
	"membersync/consumer/preview"
	"membersync/dlq"
	"membersync/mapper"
)

// A RedriveRequest says what is to be redriven, and how.
type RedriveRequest struct {
	Query   dlq.Query
	Rate    int           // redrives a second; 0: no limit of its own
	Canary  int           // the first so many alone; the rest only if none of them fails; 0: all at once
	Most    int           // leave out what was redriven so often already; 0: no limit but [dlq.MaxRedrives]
	Value   []byte        // for one dead letter: processed instead of its value, if Edited
	Edited  bool          // Value is given
	Timeout time.Duration // for results after the last was sent; 0: until all have arrived
	Who     Who

	// Planned are the items as a job has planned them: only those that are still so are sent, under
	// the planned numbers. Nil: as they are now.
	Planned []dlq.JobItem

	// Quiet is the time without a result after which the reason is looked up. 0: 20 s.
	Quiet time.Duration
}

// A Redrive is one run of the redrive command. Create it with [DeadLetters.NewRedrive], then call
// Preview or Run, once.
type Redrive struct {
	RedriveRequest
	deadLetters *DeadLetters
	index       *dlq.Index
	tail        *dlq.Tail
	planned     map[string]dlq.JobItem
	fields      []string          // that an edited value states
	rejection   error             // why an edited value would only fail again; nil: it would not
	sent        map[dlq.Sent]bool // what the redrive topic holds of those that are under way
}

// Errors about an edited value.
var (
	ErrNoStateKey = &RefusedError{"MEMBERSYNC_STATE_KEY is required for an edited value: " +
		"without it an edited value cannot be told from a forged one"}
	ErrOtherEmployee = &RefusedError{"refused: the edited value names another employee than the dead letter; nothing was written"}
)

var errUnusable = errors.New("it was requested and not sent, and that request cannot be used now: redrive it alone")

var errTooOften = fmt.Errorf("redriven %d times already, which is the maximum: discard it", dlq.MaxRedrives)

// NewRedrive selects the dead letters of a request. Nothing is written yet. An edited value is
// checked as the service will check it: it must be of the same employee.
func (s *DeadLetters) NewRedrive(ctx context.Context, request RedriveRequest) (*Redrive, error) {
	r := &Redrive{RedriveRequest: request, deadLetters: s, planned: byID(request.Planned)}
	if r.Edited && !s.cfg.State.Key.IsSet() {
		return nil, ErrNoStateKey
	}
	if err := s.stateRefusal(ctx); err != nil {
		return nil, err
	}
	var err error
	// Before the items are read: no result may arrive in between.
	if r.tail, err = s.reader.Tail(ctx); err != nil {
		return nil, err
	}
	if r.index, err = s.Index(ctx, r.Query, ByReason); err != nil {
		return nil, err
	}
	if err = r.findUnsent(ctx); err == nil && r.Edited {
		err = r.checkValue(ctx)
	}
	return r, err
}

// Index returns the selection.
func (r *Redrive) Index() *dlq.Index { return r.index }

// Refusal returns why Run sends nothing: the mapping rejects all that the edited value says. It
// would only become the value of the next dead letter, in the place of the one that can be fixed.
func (r *Redrive) Refusal() error { return r.rejection }

// checkValue refuses a value that the service would refuse: one of another employee. It also notes
// whether the mapping rejects the value, and the names of the fields that it states, for the audit
// record.
func (r *Redrive) checkValue(ctx context.Context) error {
	for item, err := range r.deadLetters.reader.Items(ctx, r.index, 0, true) {
		if err != nil {
			return err
		}
		named := item.DeadLetter
		item.DeadLetter.Value = r.Value
		results, err := r.deadLetters.mapRecord(ctx, recordOf(item.DeadLetter))
		if err != nil {
			return err
		}
		own, ok := preview.EditedResults(named, results)
		if !ok {
			return ErrOtherEmployee
		}
		r.rejection = rejectionOf(own)
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

// rejectionOf returns the first fault if there is nothing but faults.
func rejectionOf(results []mapper.Result) error {
	if len(results) == 0 || slices.ContainsFunc(results, func(r mapper.Result) bool { return r.Fault == nil }) {
		return nil
	}
	return &RefusedError{"refused: the mapping rejects the edited value (" + results[0].Fault.Error() + "); nothing was written"}
}

// clockMargin is how far the clocks of command and broker may differ.
const clockMargin = 10 * time.Minute

// findUnsent looks up which of the items under way were recorded but not sent, because an earlier
// command was killed in between.
func (r *Redrive) findUnsent(ctx context.Context) error {
	oldest := time.Time{}
	for _, at := range r.index.Requested() {
		if oldest.IsZero() || at.Before(oldest) {
			oldest = at
		}
	}
	if oldest.IsZero() {
		return nil
	}
	var err error
	r.sent, err = r.deadLetters.reader.Sent(ctx, oldest.Add(-clockMargin))
	return err
}

// Run sends the selected dead letters and waits for their results, and reports each. It returns the
// number of those that were sent and have no result yet. No one is sent twice: a run after one that
// was stopped sends the rest, and waits for what is under way. Notice is called when no result
// arrives for some time, once per reason. Both functions are called by one goroutine at a time.
func (r *Redrive) Run(ctx context.Context, report func(ItemResult), notice func(NoResults)) (outstanding int, err error) {
	if err := r.Refusal(); err != nil {
		return 0, err
	}
	w := newWatch(r, report, notice)
	// Others may have acted on the items while this plan was read and confirmed.
	if err := r.tail.CatchUp(ctx, w.take); err != nil {
		return 0, err
	}
	stop := w.start(ctx)
	err = r.send(ctx, w)
	if err == nil {
		err = w.await(ctx, r.Timeout)
	}
	stop()
	missing(r.index, report)
	return w.outstanding(), err
}

// send sends what is selected, one after the other at the rate.
func (r *Redrive) send(ctx context.Context, w *watch) error {
	redriver := dlq.NewRedriver(r.deadLetters.parts.Kafka, wiring.Topics(r.deadLetters.cfg).Redrive, dlq.WithRetry(writeTimeout))
	pace, sent := newPace(r.Rate), 0
	for item, err := range r.deadLetters.reader.Items(ctx, r.index, 0, true) {
		if ctx.Err() != nil || err != nil && item.ID == "" {
			return errors.Join(err, ctx.Err())
		}
		if err == nil && (r.leaveOut(item, w.report) || r.isSettled(item, w.report)) {
			continue
		}
		number, reason := r.decide(item, err)
		if reason != "" {
			w.report(failedItem(item.ID, reason))
			continue
		}
		if number == 0 {
			w.expect(item.ID, item.Number) // under way already: only its result is missing
			continue
		}
		if w.hasResult(item.ID, number) {
			w.expect(item.ID, number) // another process has redriven it since the items were read
			continue
		}
		if by, discarded := w.changed(item, number); by != "" || discarded {
			r.leaveToOthers(w, item, number, by)
			continue
		}
		if sent++; r.Canary > 0 && sent == r.Canary+1 {
			if err := w.awaitCanary(ctx, r.Timeout); err != nil {
				return err
			}
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
			w.report(failedItem(item.ID, err.Error()))
		}
	}
	return nil
}

// NeverRedriven is why a dead letter of a record in the redrive topic is not redriven.
const NeverRedriven = "it is an invalid redrive: redrive the event's own dead letter, and discard this one"

// leaveOut reports and leaves out an item that was redriven as often as the request allows.
func (r *Redrive) leaveOut(i dlq.Item, report func(ItemResult)) bool {
	if r.Most == 0 || i.State != dlq.StateOpen || i.Number < r.Most {
		return false
	}
	report(ItemResult{ID: i.ID, Result: "left out", Detail: fmt.Sprintf("redriven %d times already", i.Number)})
	return true
}

// leaveToOthers leaves out an item that was requested or discarded since it was read. Two redrives
// of one number run once, and with which value is a matter of chance.
func (r *Redrive) leaveToOthers(w *watch, i dlq.Item, number int, by string) {
	switch {
	case by == "":
		w.report(ItemResult{ID: i.ID, Result: "left out", Detail: "discarded since the plan"})
	case r.Edited:
		w.report(failedItem(i.ID, fmt.Sprintf("redrive %d by %s is under way; this value was not sent", number, by)))
	default:
		w.expect(i.ID, number)
	}
}

// isSettled reports and leaves out an item that is not as its job has planned it.
func (r *Redrive) isSettled(i dlq.Item, report func(ItemResult)) bool {
	planned, ok := r.planned[i.ID]
	if !ok {
		return false
	}
	result, ok := settled(planned, i)
	if ok {
		report(result)
	}
	return ok
}

// decide returns the number to send an item with, 0 if it is under way, or why it is not sent.
func (r *Redrive) decide(i dlq.Item, err error) (number int, reason string) {
	switch {
	case err != nil:
		return 0, err.Error()
	case i.DeadLetter.Reason == dlq.ReasonInvalidRedrive:
		return 0, NeverRedriven
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
// begun, both are written, also after the context has ended: the record may exist although its
// acknowledgment was not waited for. The writes are bounded in time.
func (r *Redrive) sendOne(ctx context.Context, to *dlq.Redriver, w *watch, i dlq.Item, number int) error {
	ctx = context.WithoutCancel(ctx)
	if r.Edited {
		i.DeadLetter.Value = r.Value
	}
	var one dlq.Redrive
	recorded := false
	if i.State == dlq.StateRedriving {
		var err error
		if one, recorded, err = r.recorded(ctx, i); err != nil {
			return err
		}
		if _, planned := r.planned[i.ID]; planned && !recorded {
			return errUnusable // another number could run in addition to this one
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
func (r *Redrive) record(ctx context.Context, i dlq.Item, number int) (dlq.Redrive, error) {
	one := dlq.Redrive{
		DeadLetter: i.DeadLetter, Place: i.Place, Number: number, By: r.Who.Actor, At: time.Now(), Note: r.Who.Note, Edited: r.Edited,
	}
	if number > dlq.MaxRedrives {
		return one, errTooOften
	}
	request := one.Request(r.deadLetters.parts.EditDigest)
	request.Detail.Fields = strings.Join(r.fields, ",")
	var err error
	one.Audit, err = r.deadLetters.audit.Append(ctx, request)
	return one, err
}

// recorded returns the redrive that was requested and not sent, as it was requested: it names that
// request. Not ok: the request has expired, or is of another value or another dead letter of the
// event.
func (r *Redrive) recorded(ctx context.Context, i dlq.Item) (one dlq.Redrive, ok bool, err error) {
	request, err := r.deadLetters.reader.AuditRecord(ctx, i.Request)
	_, expired := errors.AsType[*dlq.ExpiredError](err)
	switch {
	case expired || errors.Is(err, dlq.ErrNoAuditRecord):
		return one, false, nil
	case err != nil:
		return one, false, err
	case request.Detail.Edited && !r.Edited: // the value was never written
		return one, false, fmt.Errorf("redrive %d was recorded with an edited value and not sent: give the value again with --value-file", i.Number)
	}
	one = dlq.Redrive{
		DeadLetter: i.DeadLetter, Place: i.Place, Audit: i.Request, Number: i.Number, By: request.Actor, At: request.At,
		Note: request.Note, Edited: r.Edited,
	}
	return one, one.CheckRequest(request, r.deadLetters.parts.EditDigest) == nil, nil
}
