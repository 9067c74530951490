// Package history checks a run of the service from the outside: the raw records of the source
// topic, the requests that reached the CRM, its state at the end, the dead letters, and the group's
// commits.
//
// It differs from package outcome, the oracle of the tests without virtual time. That package
// computes only the final state. This one checks when each call, commit and dead letter happened,
// and knows losses of Redis, storms, redrives and replays. Both parse the records with their own
// code, on purpose: a mistake in one of them does not hide the same mistake in the other.
//
// The package must not import packages of the service, so that it cannot share a mistake with them.
package history

import "time"

// A Header is a header of a record.
type Header struct {
	Key   string
	Value []byte
}

// A Record is a record of Kafka.
type Record struct {
	Generation int  // how often its topic had been recreated before
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
	Instance int    // the sender
	Member   string // the openUserId
	User     []byte // the sparse update as it was sent
	Arrived  time.Time
	Effect   time.Time // when it took effect; zero: never
	Turn     int       // in the order of effects, from 1
	Left     time.Time // when it was acknowledged or its client had gone, whichever was first
	Lost     bool      // the client got no response, or one that leaves open whether the update took effect
	Failed   bool      // the response was not a success
}

// A Loss is when Redis lost its state, and when the state was rebuilt. Zero: never.
type Loss struct{ At, Rebuilt time.Time }

// A Commit is an attempt to commit an offset, successful or not.
type Commit struct {
	At        time.Time
	Partition int
	Offset    int64 // the next offset to process
}

// A Delivery counts how often an instance received an event, and how often the event ended there.
type Delivery struct {
	Instance, Partition int
	Offset              int64
	Index               int
	Arrived, Ended      int
}

// A World is the set-up of the CRM and the limits of the service.
type World struct {
	Members        []string
	Departments    int64 // those from 1 to this number exist
	MaxRecordBytes int
	// MaxFetched, in bytes, and MaxHeaders bound what the service reads. A record beyond them is
	// dead-lettered by its coordinates. Zero: no bound.
	MaxFetched, MaxHeaders int
	Refused                string // the prefix of values that the CRM rejects as invalid
	Rejected               string // and of those that it rejects with an unknown code
	Sick                   string // the only member whose calls fail while those of others succeed
	Limit                  int    // calls in any window of time
	Window                 time.Duration
	Storms                 []Storm
	// FetchBytes is the most that one instance may request from the source topic at a time.
	FetchBytes int64
	// Quiet is how long after the arrival of an unacknowledged call no other update of its member may
	// arrive: twice the timeout of a call.
	Quiet time.Duration
	// Lease is how long before its arrival a call may have acquired its lease.
	Lease time.Duration
}

// A History is everything known about a run.
type History struct {
	World       World
	Source      []Record
	DeadLetters []Record
	Redrives    []Record // of the redrive topic
	Audit       []Record
	// Forged holds the records of the redrive topic that the operator did not send, by
	// partition:offset, and what is wrong with them.
	Forged     map[string]string
	Calls      []Call // in the order of arrival
	State      map[string]map[string]string
	Commits    []Commit // in the order of time
	Committed  map[int]int64
	Ends       map[int]int64
	Deliveries []Delivery
	// Losses are the times at which Redis lost all its keys. See [losses].
	Losses []Loss
	Pauses []Pause
	// Recreated holds the times at which the source topic was deleted and created again.
	Recreated []time.Time
	Replays   map[int]Replay // by instance
	// Fetched is the most that each instance requested at a time, in bytes.
	Fetched map[int]int64
	// Unsettled means that some offsets were not committed long after the last fault.
	Unsettled bool
	// Storming holds the times at which an instance reported a storm.
	Storming []time.Time
}
