package simulation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"membersync/dlq"
)

func redriveKinds() []string {
	return []string{"redrive", "redrive edited", "redrive sent twice", "redrive only requested", "redrive sent later", "discard"}
}

// forgeries returns what can be wrong with a record of the redrive topic.
func forgeries() []string {
	return []string{
		"no dead letter", "another value", "another key", "other coordinates", "another number", "another actor",
		"another digest", "no request", "edited without request", "edited to another employee",
	}
}

// redrives makes the operator process the open dead letters several times.
func (p *planner) redrives(r *rand.Rand) {
	for range 2 + r.IntN(4) {
		draw := rand.New(rand.NewPCG(r.Uint64(), 0))
		p.operate(between(r, 15*time.Second, p.w.horizon+20*time.Second), "redrives", func(ctx context.Context, o *operator) error {
			return o.redriveSome(ctx, draw)
		})
	}
	if r.IntN(2) == 0 {
		p.operate(p.w.horizon+50*time.Second, "redrive all", func(ctx context.Context, o *operator) error { return o.redriveAll(ctx) })
	}
}

// items returns, with their values, the open dead letters and those whose redrive was requested but
// not sent.
func (o *operator) items(ctx context.Context) ([]dlq.Item, error) {
	index, err := o.reader.Index(ctx, dlq.Query{States: []dlq.State{dlq.StateOpen, dlq.StateRedriving}}, nil)
	if err != nil {
		return nil, err
	}
	sent, err := o.reader.Sent(ctx, time.Time{})
	if err != nil {
		return nil, err
	}
	var items []dlq.Item
	for item, err := range o.reader.Items(ctx, index, 0, true) {
		if err != nil {
			return nil, err
		}
		isSent := item.State == dlq.StateRedriving && sent[dlq.Sent{ID: item.ID, Number: item.Number}]
		if item.DeadLetter.Reason != dlq.ReasonInvalidRedrive && !isSent {
			items = append(items, item)
		}
	}
	slices.SortFunc(items, func(a, b dlq.Item) int { return cmp.Compare(a.ID, b.ID) })
	return items, nil
}

func (o *operator) redriveSome(ctx context.Context, r *rand.Rand) error {
	items, err := o.items(ctx)
	if err != nil {
		return err
	}
	for _, item := range items {
		switch n := r.IntN(20); {
		case n < 6:
			err = o.redrive(ctx, item, nil, "redrive")
		case n < 9:
			err = o.redrive(ctx, item, o.edit(item), "redrive edited")
		case n < 11:
			if err = o.redrive(ctx, item, nil, "redrive"); err == nil {
				err = o.sendAgain(ctx)
			}
		case n < 13:
			err = o.discard(ctx, item)
		case n < 15:
			err = o.forge(ctx, item, pick(r, forgeries()...))
		case n < 17:
			o.w.fired("redrive only requested", 0)
			_, err = o.request(ctx, redriveOf(item, pick(r, nil, o.edit(item))))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *operator) redriveAll(ctx context.Context) error {
	items, err := o.items(ctx)
	if err != nil {
		return err
	}
	for _, item := range items {
		if err := o.redrive(ctx, item, nil, "redrive"); err != nil {
			return err
		}
	}
	return nil
}

// redrive requests and sends a redrive as membersync dlq redrive does. A value replaces the
// original; nil keeps it.
func (o *operator) redrive(ctx context.Context, item dlq.Item, value []byte, kind string) error {
	if item.State == dlq.StateRedriving && value == nil {
		isSent, err := o.sendLater(ctx, item)
		if isSent || err != nil {
			return err
		}
	}
	one, err := o.request(ctx, redriveOf(item, value))
	if err != nil {
		return err
	}
	o.w.fired(kind, 0)
	return o.send(ctx, one)
}

func redriveOf(item dlq.Item, value []byte) dlq.Redrive {
	one := dlq.Redrive{
		DeadLetter: item.DeadLetter, Place: item.Place, Number: item.Number + 1, By: "operator", At: time.Now(), Note: "note",
		Edited: value != nil,
	}
	if one.Edited {
		one.DeadLetter.Value = value
	}
	return one
}

// sendLater sends a redrive that was requested but not sent. False: the request has an edited
// value, which is stored nowhere else, or names an earlier dead letter of the item, since a redrive
// sent before it failed after it. Such a request is never sent.
func (o *operator) sendLater(ctx context.Context, item dlq.Item) (bool, error) {
	a, err := o.reader.AuditRecord(ctx, item.Request)
	if err != nil || a.Detail.Edited || a.Detail.DeadLetter != item.Place.String() {
		return false, err
	}
	one := redriveOf(item, nil)
	one.Number, one.By, one.At, one.Note, one.Audit = item.Number, a.Actor, a.At, a.Note, item.Request
	if err := one.CheckRequest(a, editDigest()); err != nil {
		return false, err
	}
	o.w.fired("redrive sent later", 0)
	return true, o.send(ctx, one)
}

// request writes the request of a redrive to the audit topic.
func (o *operator) request(ctx context.Context, one dlq.Redrive) (dlq.Redrive, error) {
	var err error
	one.Audit, err = o.audit.Append(ctx, one.Request(editDigest()))
	return one, err
}

func (o *operator) send(ctx context.Context, one dlq.Redrive) error {
	o.last = one
	o.w.log("redrive", "id", one.DeadLetter.ID(), "number", one.Number, "edited", one.Edited, "value", string(one.DeadLetter.Value))
	return o.redriver.Write(ctx, one)
}

// sendAgain sends the latest redrive again.
func (o *operator) sendAgain(ctx context.Context) error {
	o.w.fired("redrive sent twice", 0)
	return o.redriver.Write(ctx, o.last)
}

func (o *operator) discard(ctx context.Context, item dlq.Item) error {
	o.w.fired("discard", 0)
	return o.audit.Write(ctx, dlq.AuditRecord{
		At: time.Now(), Actor: "operator", Action: dlq.ActionDiscard, Subject: item.ID, Note: "note", Result: dlq.ResultDone,
		Detail: dlq.Detail{Number: item.Number},
	})
}

// edit returns a value that can be applied, built from that of a dead letter, if the CRM has the
// member.
func (o *operator) edit(item dlq.Item) []byte {
	var c change
	if json.Unmarshal(item.DeadLetter.Value, &c) != nil || c.ID == "" || c.Employee == "" || !isOrder(c.Sequence) {
		employee := string(item.DeadLetter.Key)
		c = change{
			ID: "ev-edited-" + item.ID, Sequence: 1, Employee: employee, Member: "FSUID_TEST" + strings.TrimPrefix(employee, "E"),
		}
	}
	o.edits++
	c.Before = nil
	c.After = map[string]any{"weixin": fmt.Sprintf("edited-%d", o.edits), "email": fmt.Sprintf("edited-%d", o.edits)}
	return marshal(c)
}

// isOrder reports whether a sequence is a valid order value.
func isOrder(sequence any) bool {
	n, ok := sequence.(float64)
	return ok && n >= 0 && n < 1<<50 && n == float64(int64(n))
}

var errRefusedHere = errors.New("simulation: unknown forgery")

// forger is an actor that writes to the redrive topic without a request.
const forger = "forger"

// forge writes a record of the redrive topic that the operator did not request. Most are built from
// a redrive that is requested and sent after them. They must not stop it.
func (o *operator) forge(ctx context.Context, item dlq.Item, how string) error {
	if how == "edited to another employee" && item.DeadLetter.EmployeeID == "" {
		how = "edited without request" // may be of any employee
	}
	one := redriveOf(item, nil)
	o.edits++
	another := marshal(change{
		ID: "ev-forged", Sequence: 1 << 40, Employee: string(item.DeadLetter.Key),
		Member: "FSUID_TEST" + strings.TrimPrefix(string(item.DeadLetter.Key), "E"),
		After:  map[string]any{"weixin": fmt.Sprintf("forged-%d", o.edits)},
	})
	var err error
	switch how {
	case "no request", "edited without request":
		one.By, one.Audit = forger, o.last.Audit // of another redrive, or empty
		if how == "edited without request" {
			one.DeadLetter.Value, one.Edited = another, true
		}
		return o.sendForged(ctx, one, item.Place.Partition, how)
	case "edited to another employee": // the operator bypassed the command
		one = redriveOf(item, marshal(change{
			ID: "ev-forged", Sequence: 1, Employee: item.DeadLetter.EmployeeID + "x", Member: memberOf(0),
			After: map[string]any{"weixin": fmt.Sprintf("forged-%d", o.edits)},
		}))
		if one, err = o.request(ctx, one); err != nil {
			return err
		}
		return o.sendForged(ctx, one, item.Place.Partition, how)
	case "another digest":
		one = redriveOf(item, o.edit(item))
	}
	if one, err = o.request(ctx, one); err != nil {
		return err
	}
	genuine := one
	switch how {
	case "no dead letter":
		one.Place.Offset += 1 << 30
	case "another value", "another digest":
		one.DeadLetter.Value = another
	case "another key":
		one.DeadLetter.Key = []byte("E-forged")
	case "other coordinates":
		one.DeadLetter.Source.Offset++
	case "another number":
		one.Number++
	case "another actor":
		one.By = forger
	default:
		return errRefusedHere
	}
	if err := o.sendForged(ctx, one, item.Place.Partition, how); err != nil {
		return err
	}
	return o.send(ctx, genuine)
}

// sendForged sends a record and records that it is forged.
func (o *operator) sendForged(ctx context.Context, one dlq.Redrive, partition int, how string) error {
	m := one.Message()
	rec := &kgo.Record{Topic: redrives, Partition: int32(partition), Key: m.Key, Value: m.Value} //nolint:gosec // small
	for _, h := range m.Headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	if err := o.w.kafka.client.ProduceSync(ctx, rec).FirstErr(); err != nil {
		return err
	}
	o.w.fired("forged: "+how, 0)
	o.forged[fmt.Sprintf("%d:%d", rec.Partition, rec.Offset)] = how
	return nil
}
