package consumer

import (
	"context"
	"errors"

	"github.com/segmentio/kafka-go"

	"membersync/consumer/source"
	"membersync/dlq"
	"membersync/mapper"
)

// ours leaves the events that a replay of one employee is about. It comes behind all else that is done with a record: a redrive
// whose own event was gone would die of it.
func (c *Config) ours(results []mapper.Result) []mapper.Result {
	return OfEmployee(results, c.Employee)
}

// OfEmployee leaves the events of one employee; an empty id: all.
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

// A RedrivePreview is what a record of the redrive topic would run.
type RedrivePreview struct {
	Record  mapper.Record // that the events are of: the source topic's, or the redrive's own if it is not what it says
	Number  int           // how often they were redriven with it; 0 if it is not what it says
	Results []mapper.Result
}

// PreviewRedrive reads a record of the redrive topic as the service does, for a plan. It waits for nothing.
func PreviewRedrive(
	ctx context.Context, archive Archive, rec mapper.Record, translate func(context.Context, mapper.Record) ([]mapper.Result, error),
) (RedrivePreview, error) {
	src := source.Record{Offset: rec.Offset, Time: rec.Time, Key: rec.Key, Value: rec.Value}
	for _, h := range rec.Headers {
		src.Headers = append(src.Headers, kafka.Header{Key: h.Key, Value: h.Value})
	}
	d := parseRedriven(src)
	if d.wrong == nil {
		var err error
		d.named, err = archive.DeadLetter(ctx, d.order.Place)
		switch {
		case errors.Is(err, dlq.ErrNoDeadLetter):
			d.wrong = err
		case err != nil:
			return RedrivePreview{}, err
		default:
			d.compare(src.Value)
		}
	}
	if refused := d.refused(); refused != nil {
		return RedrivePreview{Record: rec, Results: refused}, nil
	}
	in := mapperRecordAt(d.named.Source.Topic, d.named.Source.Partition, d.src)
	results, err := translate(ctx, in)
	if err != nil {
		return RedrivePreview{}, err
	}
	return RedrivePreview{Record: in, Number: d.order.Number, Results: d.choose(results)}, nil
}
