package decode

import (
	"fmt"

	"membersync/consumer/event"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// Identify returns the member and the event id under which the service keeps the state of an event.
// An event that could not be read has a member of its own. Rec has the coordinates of the source
// topic, also for a redriven event.
func Identify(baseURL, corpID string, rec mapper.Record, res mapper.Result) (dedupe.Member, dedupe.EventID) {
	if res.Fault != nil {
		return dedupe.NewMember(baseURL, corpID, placeID(placeOf(rec, res.Event))), recordID(rec, res.Event)
	}
	return dedupe.NewMember(baseURL, corpID, res.Event.OpenUserID), eventID(rec, res.Event)
}

// identify sets the lane and the id of a valid event.
func (d *Decoder) identify(ev *event.Event, rec mapper.Record, mapped mapper.Event) {
	ev.Key = event.LaneKey{Member: dedupe.NewMember(d.cfg.BaseURL, d.cfg.CorpID, mapped.OpenUserID)}
	ev.ID = eventID(rec, mapped)
}

// keyOfRejected is the lane of an event that could not be read.
func (d *Decoder) keyOfRejected(rec mapper.Record, ev mapper.Event) event.LaneKey {
	return event.LaneKey{Member: dedupe.NewMember(d.cfg.BaseURL, d.cfg.CorpID, placeID(placeOf(rec, ev))), Unread: true}
}

// eventID identifies an event by the id that its source gave it, or by its place in the topic if
// there is none.
func eventID(rec mapper.Record, ev mapper.Event) dedupe.EventID {
	if ev.ID == "" {
		return recordID(rec, ev)
	}
	return dedupe.NewEventID(rec.Topic, ev.ID, ev.Index, ev.Order)
}

func recordID(rec mapper.Record, ev mapper.Event) dedupe.EventID {
	return dedupe.NewRecordID(rec.Topic, rec.Partition, rec.Offset, rec.Time.UnixMilli(), ev.Index)
}

// DeliveryOf names a delivery of an event as the index of dead letters does. Number is that of the
// redrive, 0 for a record of the source topic and for an invalid redrive.
func DeliveryOf(sourceTopic string, rec mapper.Record, number int, res mapper.Result) dlq.Delivery {
	d := dlq.Delivery{
		Source: dlq.Source{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Timestamp: rec.Time},
		Index:  res.Event.Index, Number: number, Edited: rec.Edited, Invalid: rec.Topic != sourceTopic,
	}
	if res.Fault != nil && res.Fault.Whole {
		d.Index = -1
	}
	return d
}

// placeOf names an event without a member by its place.
func placeOf(rec mapper.Record, ev mapper.Event) string {
	return fmt.Sprintf("%s/%d/%d/%d", rec.Topic, rec.Partition, rec.Offset, ev.Index)
}

// placeID stands for the openUserId of an event without a member: no member's begins so.
func placeID(place string) string { return "\x00" + place }
