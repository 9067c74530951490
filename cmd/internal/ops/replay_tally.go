package ops

import (
	"maps"
	"sync"

	"membersync/consumer"
	"membersync/mapper"
)

// A replayTally counts what a replay has done. It watches the events as the service's observer, and
// is safe for concurrent use.
type replayTally struct {
	progress func(done, total int64) // set before the replay runs

	mu     sync.Mutex
	result ReplayResult
}

// now returns what has been counted so far.
func (t *replayTally) now() ReplayResult {
	t.mu.Lock()
	defer t.mu.Unlock()
	result := t.result
	result.Outcomes = maps.Clone(result.Outcomes)
	return result
}

// follow takes the progress of the consumer.
func (t *replayTally) follow(at consumer.ReplayProgress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.Records, t.result.Done = at.Total, at.Done
	t.progress(at.Done, at.Total)
}

// setCommitted takes the offsets that are committed at the end.
func (t *replayTally) setCommitted(total, done int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.Records, t.result.Done = total, max(t.result.Done, done)
}

// skipExpired counts a redrive that was left out. It implements the field of [consumer.Parts].
func (t *replayTally) skipExpired() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.Expired++
}

// Decoded implements [consumer.Observer].
func (*replayTally) Decoded(mapper.Record, []mapper.Result) {}

// Called implements [consumer.Observer].
func (*replayTally) Called(consumer.CallAttempt) {}

// Finished implements [consumer.Observer].
func (t *replayTally) Finished(result consumer.EventResult) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.result.Outcomes[string(result.Outcome)]++
}
