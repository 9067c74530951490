package sim

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
	return []string{"redrive", "redrive edited", "redrive sent twice", "discard"}
}

// forgeries are what can be wrong with a record of the redrive topic.
func forgeries() []string {
	var all []string
	for _, how := range []string{
		"no dead letter", "another value", "another key", "other coordinates", "no request", "edited without request",
		"edited to another employee",
	} {
		if !isWaiting("forged: " + how) {
			all = append(all, how)
		}
	}
	return all
}

// planRedrives has the operator go through the open dead letters a few times.
func (w *world) planRedrives(r *rand.Rand) {
	for range 2 + r.IntN(4) {
		draw := rand.New(rand.NewPCG(r.Uint64(), 0))
		w.operate(between(r, 15*time.Second, w.horizon+20*time.Second), "redrives", func(ctx context.Context, o *operator) error {
			return o.redriveSome(ctx, draw)
		})
	}
	if r.IntN(2) == 0 {
		w.operate(w.horizon+50*time.Second, "redrive all", func(ctx context.Context, o *operator) error { return o.redriveAll(ctx) })
	}
}

// items are the open dead letters, with their values.
func (o *operator) items(ctx context.Context) ([]dlq.Item, error) {
	index, err := o.reader.Index(ctx, dlq.Query{States: []dlq.State{dlq.StateOpen}}, nil)
	if err != nil {
		return nil, err
	}
	var items []dlq.Item
	for item, err := range o.reader.Items(ctx, index, 0, true) {
		if err != nil {
			return nil, err
		}
		if item.DeadLetter.Reason != dlq.ReasonInvalidRedrive {
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

// redrive records and sends a redrive, as membersync dlq redrive does. Value is an edited one; nil:
// as it is.
func (o *operator) redrive(ctx context.Context, item dlq.Item, value []byte, kind string) error {
	one := dlq.Redrive{
		DeadLetter: item.DeadLetter, Place: item.Place, Number: item.Number + 1, By: "operator", At: time.Now(), Note: "note",
		Edited: value != nil,
	}
	if one.Edited {
		one.DeadLetter.Value = value
	}
	err := o.audit.Write(ctx, dlq.AuditRecord{
		At: one.At, Actor: one.By, Action: dlq.ActionRedrive, Subject: item.ID, Note: one.Note, Result: dlq.ResultRequested,
		Detail: dlq.Detail{DeadLetter: item.Place.String(), Number: one.Number, Edited: one.Edited},
	})
	if err != nil {
		return err
	}
	o.w.fired(kind, 0)
	o.last = one
	o.w.log("redrive", "id", item.ID, "number", one.Number, "edited", one.Edited, "value", string(one.DeadLetter.Value))
	return o.redriver.Write(ctx, one)
}

// sendAgain sends the latest redrive once more.
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

// edit makes a value that can be applied from that of a dead letter, if the CRM has the member.
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

// isOrder reports whether a sequence is one.
func isOrder(sequence any) bool {
	n, ok := sequence.(float64)
	return ok && n >= 0 && n < 1<<50 && n == float64(int64(n))
}

var errRefusedHere = errors.New("sim: no such forgery")

// forge writes a record of the redrive topic that the operator has not asked for.
func (o *operator) forge(ctx context.Context, item dlq.Item, how string) error {
	one := dlq.Redrive{
		DeadLetter: item.DeadLetter, Place: item.Place, Number: item.Number + 1, By: "somebody", At: time.Now(),
	}
	o.edits++
	another := marshal(change{
		ID: "ev-forged", Sequence: 1 << 40, Employee: string(item.DeadLetter.Key),
		Member: "FSUID_TEST" + strings.TrimPrefix(string(item.DeadLetter.Key), "E"),
		After:  map[string]any{"weixin": fmt.Sprintf("forged-%d", o.edits)},
	})
	switch how {
	case "no dead letter":
		one.Place.Offset += 1 << 30
	case "another value":
		one.DeadLetter.Value = another
	case "another key":
		one.DeadLetter.Key = []byte("E-forged")
	case "other coordinates":
		one.DeadLetter.Source.Offset++
	case "no request":
	case "edited without request":
		one.DeadLetter.Value, one.Edited = another, true
	case "edited to another employee":
		one.Edited = true
		one.DeadLetter.Value = marshal(change{
			ID: item.DeadLetter.EventID, Sequence: 1, Employee: employeeOf(memberOf(0)) + "x", Member: memberOf(0),
			After: map[string]any{"weixin": fmt.Sprintf("forged-%d", o.edits)},
		})
	default:
		return errRefusedHere
	}
	m := one.Message()
	rec := &kgo.Record{Topic: redrives, Partition: int32(item.Place.Partition), Key: m.Key, Value: m.Value} //nolint:gosec // small
	for _, h := range m.Headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	if err := o.w.kafka.ProduceSync(ctx, rec).FirstErr(); err != nil {
		return err
	}
	o.w.fired("forged: "+how, 0)
	o.forged[fmt.Sprintf("%d:%d", rec.Partition, rec.Offset)] = how
	return nil
}
