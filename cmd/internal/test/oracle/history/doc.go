// Package history judges a run of the service by what an outsider sees: the raw records of the source topic, the
// requests that reached the CRM and what it holds in the end, the dead letters, and the group's commits. It imports
// none of the service's packages, so that it cannot share a mistake with them.
package history

import "time"

// A Header is a header of a record.
type Header struct {
	Key   string
	Value []byte
}

// A Record is a record of Kafka.
type Record struct {
	Generation int  // of its topic: how often that was recreated before
	Lost       bool // its topic was deleted before its offset was committed
	Partition  int
	Offset     int64
	Time       time.Time
	Key, Value []byte
	Headers    []Header
}

// A Call is one request that reached the CRM.
type Call struct {
	N        int    // from 1, in the order of arrival
	Instance int    // that sent it
	Member   string // the openUserId
	User     []byte // the sparse update as it was sent
	Arrived  time.Time
	Effect   time.Time // when it took effect; zero if it never did
	Turn     int       // in the order of the effects, from 1
	Left     time.Time // when it was answered or its client had gone, whichever was first
	Lost     bool      // the client got no answer, or one that leaves open whether the update took effect
	Failed   bool      // whatever was answered, it was no success
}

// A Loss is when Redis lost its state, and when that was rebuilt; zero: never.
type Loss struct{ At, Rebuilt time.Time }

// A Commit is an attempt to commit an offset, whether the broker took it or not.
type Commit struct {
	At        time.Time
	Partition int
	Offset    int64 // the next to process
}

// A Delivery is how often an instance took an event in, and how often it came to an outcome there.
type Delivery struct {
	Instance, Partition int
	Offset              int64
	Index               int
	Arrived, Ended      int
}

// A World is what the CRM is set up with, and what it may be asked for.
type World struct {
	Members        []string
	Departments    int64 // those from 1 to this number exist
	MaxRecordBytes int
	// MaxFetched, in bytes, and MaxHeaders bound what is read at all: beyond them a record is
	// dead-lettered by its coordinates. Zero: no bound.
	MaxFetched, MaxHeaders int
	Refused                string // the beginning of values that the CRM finds invalid
	Rejected               string // and of those that it refuses with a code that is in no table
	Sick                   string // the one member whose calls fail while those of others succeed
	Limit                  int    // calls in any window
	Window                 time.Duration
	Storms                 []Storm
	// FetchBytes is what one instance may ask for of the source topic at a time.
	FetchBytes int64
	// Quiet is how long after the arrival of a call that went unanswered no other update of its member may
	// come: twice the time-out of a call.
	Quiet time.Duration
	// Lease is how long before its arrival a call may have been granted.
	Lease time.Duration
}

// A History is all that is known of a run.
type History struct {
	World    World
	Source   []Record
	Letters  []Record
	Redrives []Record // of the redrive topic
	Audit    []Record
	// Forged are the records of the redrive topic that the operator has not sent, by partition:offset,
	// and what is wrong with them.
	Forged     map[string]string
	Calls      []Call // in the order of arrival
	State      map[string]map[string]string
	Commits    []Commit // in the order of time
	Committed  map[int]int64
	Ends       map[int]int64
	Deliveries []Delivery
	// Losses are the times at which Redis lost all that it held: see [losses].
	Losses []Loss
	Pauses []Pause
	// Recreated is when the source topic was deleted, to be created again.
	Recreated []time.Time
	Replays   map[int]Replay // by instance
	// Fetched is the most that an instance has asked for at a time, in bytes, by instance.
	Fetched map[int]int64
	// Unsettled: some offsets were not committed long after the last fault.
	Unsettled bool
	// Storming are times at which an instance has reported that it holds events, or would.
	Storming []time.Time
}
