package mapper

import "membersync/crmapi"

// Folded is several events of one member made into one: for each field the value of the
// newest event that states it. The zero value is the fold of no events.
type Folded struct {
	openUserID string
	events     int
	fields     [crmapi.NumFields]statement
}

// A Winner is the event whose value of a field is the newest.
type Winner struct {
	Index   int // its place in the slice that was folded
	Version Version
}

// A statement is what one event says of one field.
type statement struct {
	made  bool
	value crmapi.Value
	by    Winner
}

// Fold makes several events of one member into one. For each field the newest version
// wins; of equal ones, the later in the slice. Ignored events state nothing.
func Fold(events []Event) Folded {
	folded := Folded{events: len(events)}
	for i, e := range events {
		folded.adopt(e.OpenUserID)
		if e.Ignored != "" {
			continue
		}
		for f, v := range e.Update.All() {
			folded.state(f, statement{made: true, value: v, by: Winner{Index: i, Version: e.Version}})
		}
	}
	return folded
}

// Merge returns the fold of the events of f followed by those of later. It is
// associative: however a sequence of events is cut up, the same comes out.
func (f Folded) Merge(later Folded) Folded {
	f.adopt(later.openUserID)
	for field, s := range later.fields {
		s.by.Index += f.events
		f.state(crmapi.Field(field), s)
	}
	f.events += later.events
	return f
}

// Update returns the one update.
func (f Folded) Update() crmapi.Update {
	update := crmapi.Update{OpenUserID: f.openUserID}
	for field, s := range f.fields {
		if s.made {
			update = update.With(crmapi.Field(field), s.value)
		}
	}
	return update
}

// Winner returns which event gave the value of a field, and false if none states it.
func (f Folded) Winner(field crmapi.Field) (Winner, bool) {
	if int(field) >= len(f.fields) {
		return Winner{}, false
	}
	s := f.fields[field]
	return s.by, s.made
}

// Events returns how many events were folded.
func (f Folded) Events() int { return f.events }

// adopt takes the member from the first event that names one. All events of a lane name the same.
func (f *Folded) adopt(openUserID string) {
	if f.openUserID == "" {
		f.openUserID = openUserID
	}
}

// state lets s win unless what is there is newer.
func (f *Folded) state(field crmapi.Field, s statement) {
	if s.made && (!f.fields[field].made || s.by.Version >= f.fields[field].by.Version) {
		f.fields[field] = s
	}
}
