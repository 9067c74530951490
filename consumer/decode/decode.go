package decode

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"membersync/consumer/event"
	"membersync/consumer/wait"
	"membersync/crmapi"
	"membersync/dlq"
	"membersync/mapper"
)

// A Mapper turns a record into its results, one per employee. It never blocks.
type Mapper interface {
	// References lists what the record needs to have looked up first; mostly nothing.
	References(rec mapper.Record) []mapper.Reference
	// MapWith maps the record with what was found for the references.
	MapWith(rec mapper.Record, found map[mapper.Reference]string) []mapper.Result
}

// Lookups finds what records refer to outside of the mapping.
type Lookups interface {
	// Find returns the values of the references that exist. An error means that they are not known.
	Find(ctx context.Context, refs []mapper.Reference) (map[mapper.Reference]string, error)
}

// An Archive reads what a redrive names: its dead letter, and its request in the audit topic. Its
// methods are called concurrently.
type Archive interface {
	// DeadLetter reads the dead letter at a place. The error is [dlq.ErrNoDeadLetter] if there is
	// none, and a [*dlq.ExpiredError] if retention has removed it.
	DeadLetter(ctx context.Context, at dlq.Place) (dlq.DeadLetter, error)
	// AuditRecord reads the audit record at a place. The error is [dlq.ErrNoAuditRecord] if there is
	// none, and a [*dlq.ExpiredError] if retention has removed it.
	AuditRecord(ctx context.Context, at dlq.Place) (dlq.AuditRecord, error)
}

// Items says which events a replay leaves out because of their dead letters. Its method must not
// block, and is called concurrently.
type Items interface {
	ReplaySkips(d dlq.Delivery) bool
}

// Outages is notified when what decoding needs fails or works. Its methods must not block.
type Outages interface {
	// LookupsFailed and LookupsWorked: lookups are kept where the state is, so calls pause, too.
	LookupsFailed(ctx context.Context, err error)
	LookupsWorked(ctx context.Context)
	// KafkaFailed: the source record that a redrive of this partition is about cannot be read.
	KafkaFailed(ctx context.Context, topic string, partition int, err error)
	// EvidenceFailed: a redrive waits, since its dead letter or its request cannot be read.
	EvidenceFailed(ctx context.Context, err error)
	// EvidenceRead: it waits no more.
	EvidenceRead(ctx context.Context)
}

// A Config is the settings of a [Decoder].
type Config struct {
	Topic           string // the source topic; a record of any other topic is a redrive
	BaseURL, CorpID string // the CRM that the members are of
	Employee        string // drop the events of all other employees; empty: none
	// Covers reports whether a replay was asked for a record of the redrive topic, whose source record
	// is the second one; nil: for all of them.
	Covers func(in, source mapper.Record) bool
	// SkipExpired: a redrive whose dead letter or request has expired holds no event; otherwise it is
	// rejected.
	SkipExpired bool
}

// Parts is what a [Decoder] works with.
type Parts struct {
	Mapper  Mapper
	Lookups Lookups // nil: no mapping refers to any
	Archive Archive // needed for redrives
	// Digest is that of edited values; nil: there is no state key, and such a redrive is invalid.
	Digest dlq.ValueDigest
	Items  Items // nil: no event is skipped
	// Originals is for redrives of records that were not read; nil: they need a value.
	Originals Originals
	Outages   Outages
	// Decoded is called with each record that was mapped and its results. Those of a redrive are not
	// limited to its event yet.
	Decoded func(mapper.Record, []mapper.Result)
	// Expired is called for each redrive that SkipExpired leaves out; nil: for none.
	Expired func()
	Logger  *slog.Logger
}

// A Decoder is safe for concurrent use.
type Decoder struct {
	cfg   Config
	parts Parts
	guard Guard
}

// New returns a decoder.
func New(cfg Config, parts Parts) *Decoder {
	return &Decoder{cfg: cfg, parts: parts, guard: Guard{parts.Mapper, parts.Logger}}
}

// Decode returns the events of a record. Those that must be dead-lettered have a rejection. It
// waits until everything that the record refers to can be read; its error is the end of the
// context.
func (d *Decoder) Decode(ctx context.Context, in mapper.Record) ([]*event.Event, error) {
	if in.Topic != d.cfg.Topic {
		return d.decodeRedrive(ctx, in)
	}
	rec := &event.Record{Origin: in}
	results, err := d.mapUntil(ctx, in)
	if err != nil {
		return nil, err
	}
	results = OfEmployee(results, d.cfg.Employee)
	d.parts.Decoded(in, results)
	return d.events(rec, results), nil
}

// Again decodes the record of a rejected event once more: lookup tables may have changed since. If
// the event is valid now, or ignored, its rejection is gone. The error says that this is not known.
func (d *Decoder) Again(ctx context.Context, ev *event.Event) error {
	rec, mapped := ev.Record.Origin(), ev.Mapped()
	results, err := d.tryMap(ctx, rec)
	if err != nil {
		return err
	}
	if ev.Rejection.Whole || len(results) != mapped.Count {
		return nil
	}
	if res := results[mapped.Index]; res.Fault == nil {
		ev.SetMapped(res.Event)
		if ev.Rejection = nil; res.Event.Ignored == "" {
			d.identify(ev, rec, res.Event)
		}
	}
	return nil
}

func (d *Decoder) events(rec *event.Record, results []mapper.Result) []*event.Event {
	packed := event.Pack(rec)
	events := make([]*event.Event, len(results))
	for i, res := range results {
		ev := event.New(packed, res.Event)
		if ev.IsRedrive() {
			ev.Guard = event.Exempt // the storm guard is about live events
		}
		switch {
		case res.Fault != nil:
			ev.Rejection = &event.Rejection{
				Reason: dlq.Reason(res.Fault.Reason), Text: res.Fault.Error(), Whole: res.Fault.Whole, At: time.Now(),
			}
			ev.Key, ev.ID = d.keyOfRejected(rec.Origin, res.Event), recordID(rec.Origin, res.Event)
		case res.Event.Ignored == "":
			d.identify(ev, rec.Origin, res.Event)
		}
		ev.Skipped = d.parts.Items != nil &&
			d.parts.Items.ReplaySkips(DeliveryOf(d.cfg.Topic, rec.Origin, rec.RedriveNumber(), res))
		events[i] = ev
	}
	return events
}

// OfEmployee returns the results of one employee; an empty id: all.
func OfEmployee(results []mapper.Result, employee string) []mapper.Result {
	if employee == "" {
		return results
	}
	var own []mapper.Result
	for _, res := range results {
		if res.Event.EmployeeID == employee {
			own = append(own, res)
		}
	}
	return own
}

var errNoLookups = errors.New("decode: the mapping refers to lookups, and none are configured")

// mapUntil maps a record, once everything that it refers to has been looked up. It waits until that
// can be done. Its error is the end of the context.
func (d *Decoder) mapUntil(ctx context.Context, in mapper.Record) ([]mapper.Result, error) {
	results, err := d.tryMap(ctx, in)
	if err == nil { // almost always
		return results, nil
	}
	retry := crmapi.NewBackoff(crmapi.BackoffConfig{Initial: 200 * time.Millisecond, Max: 5 * time.Second})
	for err != nil {
		if err := wait.For(ctx, retry.Next(err)); err != nil {
			return nil, err
		}
		results, err = d.tryMap(ctx, in)
	}
	return results, nil
}

func (d *Decoder) tryMap(ctx context.Context, in mapper.Record) ([]mapper.Result, error) {
	return d.guard.Map(ctx, in, d.find)
}

func (d *Decoder) find(ctx context.Context, refs []mapper.Reference) (map[mapper.Reference]string, error) {
	if d.parts.Lookups == nil {
		return nil, errNoLookups
	}
	found, err := d.parts.Lookups.Find(ctx, refs)
	if err != nil {
		d.parts.Outages.LookupsFailed(ctx, err)
		return nil, err
	}
	d.parts.Outages.LookupsWorked(ctx)
	return found, nil
}
