package outcome

import (
	"slices"
	"time"
)

// A Header is one header of a record. A nil value and an empty one differ.
type Header struct {
	Key   string
	Value []byte
}

// A Record is a record of the source topic. A nil value is a tombstone.
type Record struct {
	Partition  int
	Offset     int64
	Key, Value []byte
	Headers    []Header
	Time       time.Time // zero in a record to be produced: now
}

// A World is what the CRM and the service are set up with.
type World struct {
	Members        []string // the openUserIds that the CRM knows, each without any field at first
	Departments    int64    // the department ids from 1 to this exist
	MaxRecordBytes int      // key and value of a record together
}

func (w World) knows(member string) bool { return slices.Contains(w.Members, member) }
