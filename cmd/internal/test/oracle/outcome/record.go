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
	Time       time.Time // zero in a record to be produced: the time of production
}

// A World is the set-up of the CRM and the service.
type World struct {
	Members        []string // the openUserIds that the CRM knows, at first without fields
	Departments    int64    // the department ids from 1 to this number exist
	MaxRecordBytes int      // key and value of a record together
}

func (w World) knows(member string) bool { return slices.Contains(w.Members, member) }
