package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// An event is what both systems read of a canonical event.
type event struct {
	ID         string                     `json:"eventId"`
	OpenUserID string                     `json:"openUserId"`
	Before     map[string]json.RawMessage `json:"before"`
	After      map[string]json.RawMessage `json:"after"`
}

var errIncomplete = errors.New("the event lacks eventId or openUserId")

func decode(value []byte) (event, error) {
	var e event
	if err := json.Unmarshal(value, &e); err != nil {
		return e, fmt.Errorf("decoding an event: %w", err)
	}
	if e.ID == "" || e.OpenUserID == "" {
		return e, errIncomplete
	}
	return e, nil
}

// user returns the CRM's user object: the member's id, and the fields that the event changed.
func (e event) user() map[string]any {
	user := map[string]any{"openUserId": e.OpenUserID}
	for name, value := range e.After {
		if !bytes.Equal(e.Before[name], value) {
			user[name] = value
		}
	}
	return user
}
