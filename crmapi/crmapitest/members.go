package crmapitest

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// A uniqueValue is a value that is unique in the company: no two members have the same account,
// name or mobile.
type uniqueValue struct{ field, value string }

// SetMember creates or replaces a member with exactly these fields. It does not check the values.
func (s *Server) SetMember(openUserID string, fields map[string]json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseValuesLocked(openUserID)
	s.members[openUserID] = make(map[string]json.RawMessage, len(fields))
	for name, value := range fields {
		s.setLocked(openUserID, name, jsontext.Value(value))
	}
}

// RemoveMember removes a member. Updates of it then fail with CodeNoMember, or create it again if
// Options.AutoCreate is set.
func (s *Server) RemoveMember(openUserID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseValuesLocked(openUserID)
	delete(s.members, openUserID)
}

// State returns the fields of a member, or nil if the member does not exist.
func (s *Server) State(openUserID string) map[string]json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.members[openUserID])
}

// Members returns the openUserIds of all members, sorted.
func (s *Server) Members() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.members))
}

// Snapshot returns every member with its fields, like a backup of the CRM.
func (s *Server) Snapshot() map[string]map[string]json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]map[string]json.RawMessage, len(s.members))
	for id, fields := range s.members {
		all[id] = maps.Clone(fields)
	}
	return all
}

// Restore resets the CRM to a snapshot. Members that the snapshot does not contain are removed.
func (s *Server) Restore(snapshot map[string]map[string]json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.members)
	clear(s.owners)
	for id, fields := range snapshot {
		s.members[id] = make(map[string]json.RawMessage, len(fields))
		for name, value := range fields {
			s.setLocked(id, name, jsontext.Value(value))
		}
	}
}

// applyLocked sets the fields of a member. It creates the member if it does not exist. The caller
// must hold mu.
func (s *Server) applyLocked(id string, user fields) {
	if s.members[id] == nil {
		s.members[id] = make(map[string]json.RawMessage)
	}
	for name, value := range user {
		s.setLocked(id, name, value)
	}
}

// setLocked changes one field, and the owner of its unique value. The caller must hold mu.
func (s *Server) setLocked(id, name string, value jsontext.Value) {
	if old, ok := uniqueOf(name, jsontext.Value(s.members[id][name])); ok && s.owners[old] == id {
		delete(s.owners, old)
	}
	if unique, ok := uniqueOf(name, value); ok {
		s.owners[unique] = id
	}
	s.members[id][name] = json.RawMessage(value.Clone())
}

// releaseValuesLocked makes the unique values of a member available to others. The caller must hold
// mu.
func (s *Server) releaseValuesLocked(id string) {
	for name, value := range s.members[id] {
		if unique, ok := uniqueOf(name, jsontext.Value(value)); ok && s.owners[unique] == id {
			delete(s.owners, unique)
		}
	}
}

// isTakenLocked reports whether another member has one of the update's unique values. The caller
// must hold mu.
func (s *Server) isTakenLocked(id string, user fields) bool {
	for name, value := range user {
		want, ok := uniqueOf(name, value)
		if owner := s.owners[want]; ok && owner != "" && owner != id {
			return true
		}
	}
	return false
}

// uniqueOf returns the unique value of a field, and whether there is one.
func uniqueOf(name string, value jsontext.Value) (uniqueValue, bool) {
	if name != "account" && name != "name" && name != "mobile" {
		return uniqueValue{}, false
	}
	v, ok := text(value)
	return uniqueValue{field: name, value: v}, ok && v != ""
}
