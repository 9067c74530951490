package crmapitest

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// A unique value of the company: no two members have the same account, name or mobile.
type unique struct{ field, value string }

// SetMember makes a member exist with just these fields, unchecked.
func (s *Server) SetMember(openUserID string, fields map[string]json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disown(openUserID)
	s.members[openUserID] = make(map[string]json.RawMessage, len(fields))
	for name, value := range fields {
		s.set(openUserID, name, jsontext.Value(value))
	}
}

// RemoveMember makes a member unknown.
func (s *Server) RemoveMember(openUserID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disown(openUserID)
	delete(s.members, openUserID)
}

// State returns the fields of a member, nil if there is none.
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

// Snapshot returns every member with its fields, as a backup of the CRM has them.
func (s *Server) Snapshot() map[string]map[string]json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]map[string]json.RawMessage, len(s.members))
	for id, fields := range s.members {
		all[id] = maps.Clone(fields)
	}
	return all
}

// Restore sets the CRM back to a snapshot. Members that came since are gone.
func (s *Server) Restore(snapshot map[string]map[string]json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.members)
	clear(s.owners)
	for id, fields := range snapshot {
		s.members[id] = make(map[string]json.RawMessage, len(fields))
		for name, value := range fields {
			s.set(id, name, jsontext.Value(value))
		}
	}
}

func (s *Server) apply(id string, user fields) {
	if s.members[id] == nil {
		s.members[id] = make(map[string]json.RawMessage)
	}
	for name, value := range user {
		s.set(id, name, value)
	}
}

// set changes one field, and who owns its value. The caller holds mu.
func (s *Server) set(id, name string, value jsontext.Value) {
	if old, ok := uniqueOf(name, jsontext.Value(s.members[id][name])); ok && s.owners[old] == id {
		delete(s.owners, old)
	}
	if own, ok := uniqueOf(name, value); ok {
		s.owners[own] = id
	}
	s.members[id][name] = json.RawMessage(value.Clone())
}

func (s *Server) disown(id string) {
	for name, value := range s.members[id] {
		if own, ok := uniqueOf(name, jsontext.Value(value)); ok && s.owners[own] == id {
			delete(s.owners, own)
		}
	}
}

// taken reports whether another member has one of the values that are unique in the company.
func (s *Server) taken(id string, user fields) bool {
	for name, value := range user {
		want, ok := uniqueOf(name, value)
		if owner := s.owners[want]; ok && owner != "" && owner != id {
			return true
		}
	}
	return false
}

func uniqueOf(name string, value jsontext.Value) (unique, bool) {
	if name != "account" && name != "name" && name != "mobile" {
		return unique{}, false
	}
	v, ok := text(value)
	return unique{field: name, value: v}, ok && v != ""
}
