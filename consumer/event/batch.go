package event

import (
	"time"

	"membersync/crmapi"
	"membersync/dedupe"
)

// A Rank orders the draws of rate-limit permits: the lower one goes first.
type Rank int

// The ranks. A lane has the rank of its most urgent event.
const (
	RankLive    Rank = dedupe.RankLive
	RankRedrive Rank = dedupe.RankRedrive
	NumRanks         = 2 // a replay is a process of its own, and its limiter lowers every rank
)

// A Batch is the part of a lane that one run works on. Only one batch of a lane runs at a time.
type Batch struct {
	Key    LaneKey
	State  *LaneState // of the lane; the batch's own while it runs
	Events []*Event   // in the order of the lane
	// IsProbe: its call finds out whether a pause can end.
	IsProbe bool
	// InStorm: it has begun in a storm. What was held before, here or in another process, is then
	// called only where the guard tries it again.
	InStorm bool

	Permit   Permit // its place under the rate limit; the zero value if there is none
	Answered bool   // a call of this batch has ended, with or without a response
	Sent     bool   // a call of this batch may have reached the CRM
	CallOver bool   // its call has ended: it counts as completing
	Writes   bool   // it writes to a topic of membersync's own, and has no slot
}

// A Permit is a place in the window of the rate limit.
type Permit struct {
	ID      string
	DrawnAt time.Time
}

// An Update is what one call carries, and what is known of that call.
type Update struct {
	Member   dedupe.Member
	Token    dedupe.Token
	LeasedAt time.Time // when the lease was last asked for: it lives from then at least
	Fields   crmapi.Update

	Events       []*Event // of the batch that were not done, in lane order
	Contributors []*Event // those whose values are in Fields
	Superseded   []*Event // those of which every field has a newer version
	LeftOut      map[*Event]LeftOut

	// StateMark names the state in Redis on which the update relies; for redrives and replays.
	StateMark string
	// DigestGeneration is that of the digests when the lease was asked for.
	DigestGeneration int64
	// Unacknowledged: a call got no response, so it may still take effect. The lease must expire by
	// itself, and nothing but this update may be sent under it.
	Unacknowledged bool
	// Accepted: the call succeeded, and only its completion is missing.
	Accepted bool
}

// A LaneState is what a lane remembers between its batches.
type LaneState struct {
	// Pinned is an update that may only be sent again as it is, or whose outcome Redis has not
	// acknowledged yet; nil: the next batch acquires.
	Pinned *Update
	// Token is that of an acquire whose reply was lost: it may own the lease, and the next acquire
	// under it gets the same answer. Empty: the next acquire draws a new one.
	Token dedupe.Token
	// LeaseWait is the latest wait for a lease that another process owns.
	LeaseWait time.Duration
	// PendingWaits is how often in a row the lane had to wait for a newer value whose outcome is not
	// known.
	PendingWaits int
	// FoldLimit bounds the next fold after Redis did not answer; 0: the usual bound.
	FoldLimit int
	// Candidates contain the event that the CRM refuses; nil: none is looked for.
	Candidates []*Event
	// Backoff is nil if the latest attempt went well.
	Backoff *crmapi.Backoff
}

// A Result is the result of a batch.
type Result struct {
	Finished []Finished    // events whose outcome is final
	Moved    []*Event      // events that leave this lane for that of their member, which is known now
	Held     []*Event      // rejected events that leave this lane, since the storm guard holds them
	Wait     time.Duration // until the next batch of the lane; 0: as soon as its turn comes
	// WaitsAhead: the lane waits for an event further on in the topic, or in another process.
	WaitsAhead bool
}
