package consumer

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"membersync/consumer/deliver"
	"membersync/consumer/event"
	"membersync/consumer/schedule"
	"membersync/consumer/wait"
	"membersync/crmapi"
	"membersync/dedupe"
)

const (
	controlEvery = 2 * time.Second        // how often the control state is read
	controlFirst = 200 * time.Millisecond // between reads until the first has succeeded
	stateWait    = time.Second            // between looks of a redrive at whether the state is back
)

// A Control reads the control state: the operator's pause and releases, and the marker of the state
// in Redis.
type Control interface {
	HeartbeatStore
	Control(ctx context.Context, group string) (dedupe.Control, error)
	// MarkInitialized writes a marker if there is none, before the group commits its first offset.
	MarkInitialized(ctx context.Context, group string) error
	// Marker reads the marker alone.
	Marker(ctx context.Context, group string) (dedupe.Marker, error)
	// MarkLost removes the marker of this incarnation: the state was lost before it began.
	MarkLost(ctx context.Context, group, incarnation string) error
}

// DigestTrust is how long digests are trusted after the control state was read. A command that has
// invalidated digests and then waits for so long knows that no event fetched later is left out
// because of an older digest.
const DigestTrust = 5 * time.Second

// A controlWatcher follows the control state. It is safe for concurrent use.
type controlWatcher struct {
	group    string  // the live service's, also in a replay
	control  Control // nil: nothing is watched, and the state counts as known
	schedule *schedule.Schedule
	report   *reporter
	redis    *redisGuard
	restored func()        // called when the state is complete again
	mayJoin  chan struct{} // closed when the group may be joined (invariant 15)
	log      *slog.Logger

	mu    sync.Mutex
	state controlState
}

// A controlState is what is known of the control state.
type controlState struct {
	known      bool           // it has been read once; before that, nothing is called
	joins      bool           // the group may be joined
	latest     dedupe.Control // as of the latest read
	readAt     time.Time      // when that read began
	hasOffsets bool           // the group has committed offsets, so the state must exist
	lost       bool           // and it does not, or it was lost and begun again
	otherKey   bool           // it was written under another state key
	// incarnation is that of the marker that was accepted last; empty: none was.
	incarnation string
	unreadable  bool // the latest read failed, for a reason other than a pause for Redis
}

func (c *controlWatcher) snapshot() controlState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// watch reads the control state until the context ends.
func (c *controlWatcher) watch(ctx context.Context) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		if c.read(ctx) {
			wait.Reset(controlEvery)
		} else {
			wait.Reset(controlFirst)
		}
	}
}

// read reads the control state once, and reports whether this read or one before it has succeeded.
func (c *controlWatcher) read(ctx context.Context) bool {
	before := c.snapshot()
	began := time.Now()
	now, err := c.control.Control(ctx, c.group)
	if err != nil {
		c.readFailed(ctx, before.latest, err)
		return before.known
	}
	c.mu.Lock()
	c.state.known, c.state.latest, c.state.readAt = true, now, began
	c.mu.Unlock()
	c.setUnreadable(ctx, false, nil)
	c.apply(ctx, before, now)
	c.readMarker(ctx, before, now.Marker)
	if !before.known {
		c.schedule.SetControlKnown()
	}
	if !now.Marker.OtherKey {
		c.letJoin()
	}
	return true
}

// letJoin lets the service join its group.
func (c *controlWatcher) letJoin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.state.joins {
		c.state.joins = true
		close(c.mayJoin)
	}
}

// readFailed keeps to the control state that is known while Redis does not answer. A pause that has
// ended since then ends.
func (c *controlWatcher) readFailed(ctx context.Context, known dedupe.Control, err error) {
	now := time.Now()
	if ctx.Err() == nil && !slices.Contains(c.schedule.Stats(now).Causes, event.CauseRedis) { // else that is why
		c.setUnreadable(ctx, true, err)
	}
	if until := known.Pause.Until; known.Paused && !until.IsZero() && !until.After(now) {
		c.schedule.Resume(now, event.CauseOperator)
	}
}

// setUnreadable reports once that the control state cannot be read, and once that it can again.
// Until the first read has succeeded no call is made; after that, the state read last stays in
// force.
func (c *controlWatcher) setUnreadable(ctx context.Context, unreadable bool, err error) {
	c.mu.Lock()
	changed := unreadable != c.state.unreadable
	c.state.unreadable = unreadable
	known := c.state.known
	c.mu.Unlock()
	if !changed {
		return
	}
	c.report.metrics.setPaused(causeControl, unreadable)
	if unreadable {
		c.log.LogAttrs(ctx, slog.LevelWarn, "control state not read; trying again", slog.Bool("calls_wait", !known), errAttr(err))
		return
	}
	c.log.LogAttrs(ctx, slog.LevelInfo, "control state read again")
}

func (c *controlWatcher) apply(ctx context.Context, before controlState, now dedupe.Control) {
	if now.Paused {
		c.schedule.Pause(time.Now(), event.CauseOperator, 0)
	} else {
		c.schedule.Resume(time.Now(), event.CauseOperator)
	}
	if before.known && now.Releases > before.latest.Releases {
		c.report.released(ctx, c.schedule.ReleaseHeld(func(*event.Event) bool { return true }), "the operator has asked for it")
	}
}

// readMarker decides from the marker of the state, see invariant 12. Before is what was known
// before this read began: the group had offsets then, so its state was marked before, and another
// instance's marker cannot be missed.
func (c *controlWatcher) readMarker(ctx context.Context, before controlState, m dedupe.Marker) {
	c.setOtherKey(ctx, m.OtherKey)
	// A marker that no rebuild has written, and that is not the one of before, was written after a
	// loss.
	begunAgain := m.Exists() && !m.Rebuilt && m.Incarnation != before.incarnation && (before.incarnation != "" || before.lost)
	lost := begunAgain || !m.Exists() && before.hasOffsets
	if begunAgain {
		if err := c.control.MarkLost(ctx, c.group, m.Incarnation); err != nil { // the next read tries again
			c.log.LogAttrs(ctx, slog.LevelWarn, "loss of the state not marked; trying again", errAttr(err))
		}
	}
	if m.Exists() && !lost && !m.OtherKey {
		c.mu.Lock()
		c.state.incarnation = m.Incarnation
		c.mu.Unlock()
	}
	c.setLost(ctx, lost)
	// Lost and rebuilt between two reads: what a rebuild does not restore, since it is not committed,
	// has to be delivered again in this case too.
	if m.Rebuilt && !lost && !before.lost && before.incarnation != "" && m.Incarnation != before.incarnation {
		c.restored()
	}
}

// setOtherKey pauses all calls while the state was written under another state key: nothing of it
// would be found. It reports once that it is so.
func (c *controlWatcher) setOtherKey(ctx context.Context, other bool) {
	c.mu.Lock()
	changed := other != c.state.otherKey
	c.state.otherKey = other
	c.mu.Unlock()
	switch {
	case !changed:
	case other:
		c.schedule.Pause(time.Now(), event.CauseStateKey, 0)
		c.log.LogAttrs(ctx, slog.LevelError,
			"the state in redis was written under another MEMBERSYNC_STATE_KEY; no calls until the former key is back, or membersync state rebuild has run",
			slog.String("group", c.group))
	default:
		c.schedule.Resume(time.Now(), event.CauseStateKey)
	}
}

// setLost reports once that the state in Redis is gone, and once that it is back. While it is gone,
// late and repeated events can bring old values back.
func (c *controlWatcher) setLost(ctx context.Context, lost bool) {
	c.mu.Lock()
	changed := lost != c.state.lost
	c.state.lost = lost
	c.mu.Unlock()
	if !changed {
		return
	}
	c.report.metrics.setStateLost(lost)
	if lost {
		c.log.LogAttrs(ctx, slog.LevelError,
			"the state in redis was lost; until membersync state rebuild has run, late and repeated events can bring old values back",
			slog.String("group", c.group))
		return
	}
	c.log.LogAttrs(ctx, slog.LevelInfo, "the state in redis is complete again", slog.String("group", c.group))
	c.restored()
}

// digests returns the generation of the digests, and whether it was read too long ago to trust any.
func (c *controlWatcher) digests() deliver.Digests {
	s := c.snapshot()
	return deliver.Digests{
		Generation: s.latest.DigestGeneration, Distrust: c.control != nil && time.Since(s.readAt) >= DigestTrust,
	}
}

// A stateMark names the state on which the decisions about redrives and replays rely.
type stateMark string

// trusted returns the mark of the state, or not ok while it is lost or not known. Without a control
// state it is always trusted.
func (c *controlWatcher) trusted() (mark stateMark, ok bool) {
	s := c.snapshot()
	return stateMark(s.incarnation), c.control == nil || s.known && !s.lost && !s.otherKey && s.incarnation != ""
}

// isStill reports whether the state is the one with the mark. It asks Redis.
func (c *controlWatcher) isStill(ctx context.Context, mark stateMark) (bool, error) {
	if c.control == nil {
		return true, nil
	}
	m, err := c.control.Marker(ctx, c.group)
	return err == nil && m.Exists() && !m.OtherKey && m.Incarnation == string(mark), err
}

// awaitState waits while the state in Redis is lost or not known.
func (c *controlWatcher) awaitState(ctx context.Context) error {
	for {
		if _, ok := c.trusted(); ok {
			return nil
		}
		if err := wait.For(ctx, stateWait); err != nil {
			return err
		}
	}
}

// initialize marks the state as initialized before a group without offsets commits its first
// (invariant 10): offsets without that mark mean that the state was lost. It tries until Redis
// answers.
func (c *controlWatcher) initialize(ctx context.Context, groupIsNew bool) error {
	if groupIsNew && c.control != nil {
		retry := crmapi.NewBackoff(crmapi.BackoffConfig{Initial: 200 * time.Millisecond, Max: 5 * time.Second})
		for err := c.control.MarkInitialized(ctx, c.group); err != nil; err = c.control.MarkInitialized(ctx, c.group) {
			c.redis.failed(ctx, "initialize", err)
			if err := wait.For(ctx, retry.Next(err)); err != nil {
				return err
			}
		}
		c.redis.worked()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.hasOffsets = true
	return nil
}
