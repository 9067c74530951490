package consumer

import (
	"fmt"

	"membersync/dedupe"
	"membersync/mapper"
)

// Identify says under which member and event id the service keeps the state of an event. An event that could not be read
// has a member of its own. Rec has the coordinates of the source topic, also for a redriven event.
func Identify(baseURL, corpID string, rec mapper.Record, res mapper.Result) (dedupe.Member, dedupe.EventID) {
	ev := res.Event
	openUserID := ev.OpenUserID
	if res.Fault != nil {
		openUserID = aloneID(aloneName(rec.Topic, rec.Partition, rec.Offset, ev.Index))
	}
	member := dedupe.NewMember(baseURL, corpID, openUserID)
	if res.Fault != nil || ev.ID == "" {
		return member, dedupe.NewRecordID(rec.Topic, rec.Partition, rec.Offset, rec.Time.UnixMilli(), ev.Index)
	}
	return member, dedupe.NewEventID(rec.Topic, ev.ID, ev.Index, ev.Order)
}

// aloneName names an event without a member by its place.
func aloneName(topic string, partition int, offset int64, index int) string {
	return fmt.Sprintf("%s/%d/%d/%d", topic, partition, offset, index)
}

// aloneID stands for its openUserId: no member's begins so.
func aloneID(name string) string { return "\x00" + name }
