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

// A MemberStore holds the members of the fake's company. It is safe for concurrent use.
type MemberStore struct {
	*core
	departments map[int64]bool // IDs that exist; nil means all
	members     map[string]map[string]json.RawMessage
	owners      map[uniqueValue]string // openUserId of the member that has the value
}

// SetMember creates or replaces a member with exactly these fields. It does not check the values.
func (m *MemberStore) SetMember(openUserID string, fields map[string]json.RawMessage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.releaseValuesLocked(openUserID)
	m.members[openUserID] = make(map[string]json.RawMessage, len(fields))
	for name, value := range fields {
		m.setLocked(openUserID, name, jsontext.Value(value))
	}
}

// RemoveMember removes a member. Updates of it then fail with CodeNoMember, or create it again if
// Options.AutoCreate is set.
func (m *MemberStore) RemoveMember(openUserID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.releaseValuesLocked(openUserID)
	delete(m.members, openUserID)
}

// State returns the fields of a member, or nil if the member does not exist.
func (m *MemberStore) State(openUserID string) map[string]json.RawMessage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.members[openUserID])
}

// Members returns the openUserIds of all members, sorted.
func (m *MemberStore) Members() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.members))
}

// Snapshot returns every member with its fields, like a backup of the CRM.
func (m *MemberStore) Snapshot() map[string]map[string]json.RawMessage {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]map[string]json.RawMessage, len(m.members))
	for id, fields := range m.members {
		all[id] = maps.Clone(fields)
	}
	return all
}

// Restore resets the CRM to a snapshot. Members that the snapshot does not contain are removed.
func (m *MemberStore) Restore(snapshot map[string]map[string]json.RawMessage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.members)
	clear(m.owners)
	for id, fields := range snapshot {
		m.members[id] = make(map[string]json.RawMessage, len(fields))
		for name, value := range fields {
			m.setLocked(id, name, jsontext.Value(value))
		}
	}
}

// applyLocked sets the fields of a member. It creates the member if it does not exist. The caller
// must hold mu.
func (m *MemberStore) applyLocked(id string, user fields) {
	if m.members[id] == nil {
		m.members[id] = make(map[string]json.RawMessage)
	}
	for name, value := range user {
		m.setLocked(id, name, value)
	}
}

// setLocked changes one field, and the owner of its unique value. The caller must hold mu.
func (m *MemberStore) setLocked(id, name string, value jsontext.Value) {
	if old, ok := uniqueOf(name, jsontext.Value(m.members[id][name])); ok && m.owners[old] == id {
		delete(m.owners, old)
	}
	if unique, ok := uniqueOf(name, value); ok {
		m.owners[unique] = id
	}
	m.members[id][name] = json.RawMessage(value.Clone())
}

// releaseValuesLocked makes the unique values of a member available to others. The caller must hold
// mu.
func (m *MemberStore) releaseValuesLocked(id string) {
	for name, value := range m.members[id] {
		if unique, ok := uniqueOf(name, jsontext.Value(value)); ok && m.owners[unique] == id {
			delete(m.owners, unique)
		}
	}
}

// isTakenLocked reports whether another member has one of the update's unique values. The caller
// must hold mu.
func (m *MemberStore) isTakenLocked(id string, user fields) bool {
	for name, value := range user {
		want, ok := uniqueOf(name, value)
		if owner := m.owners[want]; ok && owner != "" && owner != id {
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
